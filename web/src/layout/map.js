/** Where the bytes are, as shapes: an icicle, a treemap or a sunburst of one directory and what is beneath.
 *
 * Pure.  Areas are bytes: of a directory, what is to be seen in it and, if asked, what is stored and hidden.  What is
 * less than `SLIVER` of the whole is one shape with its like, and blank where even those together are less: no level
 * has more than 1 / SLIVER shapes, however many files there are, so they can be elements of the page.
 */

import {hierarchy, partition, treemap, treemapSquarify} from 'd3-hierarchy';

/** The least share of the whole that is a shape of its own. */
export const SLIVER = 0.003;

/** `mixed`: of a directory that several layers have bytes in, how many each, as far as the shapes in it tell.
 * @typedef {{name: string, path: string, size: number, waste: number, value: number, layer: number, op: Op, type: string, folded: number, children: Spot[], mixed: [number, number][]}} Spot */
/** x0, y0, x1, y1 in pixels; for an arc x are radians from the top, y radii.
 * @typedef {{spot: Spot, depth: number, x0: number, y0: number, x1: number, y1: number, head: number, up: number}} Shape */
/** @typedef {'icicle' | 'treemap' | 'sunburst'} Kind */
/** @typedef {{kind: Kind, width: number, height: number, shapes: Shape[]}} Drawing */

/** The server's answer as spots; small ones together.
 * @param {Rolled} root @param {boolean} hidden whether what is stored and hidden counts @returns {Spot} */
export function spots(root, hidden) {
  const value = (/** @type {{size: number, waste?: number}} */ each) => each.size + (hidden ? (each.waste ?? 0) : 0);
  const least = value(root) * SLIVER;
  /** @param {Rolled} from @returns {Spot} */
  function spot(from) {
    /** @type {Spot[]} */
    const children = [];
    let folded = from.other?.n ?? 0;
    let size = from.other?.size ?? 0;
    let waste = from.other?.waste ?? 0;
    for (const child of from.children ?? []) {
      if (value(child) >= least && value(child) > 0) {
        children.push(spot(child));
      } else {
        folded += 1;
        size += child.size;
        waste += child.waste;
      }
    }
    children.sort((a, b) => b.value - a.value || (a.path < b.path ? -1 : 1));
    const rest = value({size, waste});
    if (folded && rest >= least && rest > 0) {
      children.push({name: '', path: from.path, size, waste, value: rest, layer: 0, op: 'U', type: 'other', folded, children: [], mixed: []});
    }
    // Of a file that several layers have, the highest one's copy is the one to be seen.
    const layer = from.layer || (from.type === 'directory' ? 0 : (from.layers?.at(-1) ?? 0));
    return {
      name: from.name, path: from.path, size: from.size, waste: from.waste, value: value(from), layer, op: from.op,
      type: from.type, folded: 0, children, mixed: layer ? [] : mixture(children),
    };
  }
  return spot(root);
}

/** Bytes by layer, the lowest layer first. @param {Spot[]} children @returns {[number, number][]} */
function mixture(children) {
  /** @type {Map<number, number>} */
  const found = new Map();
  const add = (/** @type {number} */ layer, /** @type {number} */ bytes) => found.set(layer, (found.get(layer) ?? 0) + bytes);
  for (const child of children) {
    if (child.layer) add(child.layer, child.value);
    else child.mixed.forEach(([layer, bytes]) => add(layer, bytes));
  }
  return [...found].sort((a, b) => a[0] - b[0]);
}

/** d3's nodes, each with its own value: what is directly in a directory stays blank.  @param {Spot} root */
function nodes(root) {
  const tree = hierarchy(root, (spot) => spot.children);
  tree.each((node) => {
    /** @type {{value?: number}} */ (node).value = node.data.value;
  });
  return /** @type {import('d3-hierarchy').HierarchyNode<Spot> & {value: number}} */ (tree);
}

/** @param {import('d3-hierarchy').HierarchyRectangularNode<Spot>} tree @param {(node: import('d3-hierarchy').HierarchyRectangularNode<Spot>) => Partial<Shape>} place */
function shapes(tree, place) {
  /** @type {Map<unknown, number>} */
  const numbers = new Map();
  /** @type {Shape[]} */
  const found = [];
  tree.eachBefore((node) => {
    numbers.set(node, found.length);
    const up = node.parent ? (numbers.get(node.parent) ?? -1) : -1;
    found.push({spot: node.data, depth: node.depth, x0: node.x0, y0: node.y0, x1: node.x1, y1: node.y1, head: 0, up, ...place(node)});
  });
  return found;
}

/** Rows of directories, each beneath the one it is in. @param {Spot} root @param {number} width @param {number} row height of one @returns {Drawing} */
export function icicle(root, width, row) {
  const tree = nodes(root);
  const height = (tree.height + 1) * row;
  const laid = partition().size([width, height])(/** @type {any} */ (tree));
  return {kind: 'icicle', width, height, shapes: shapes(/** @type {any} */ (laid), () => ({}))};
}

const HEAD = 20;

/** Directories as boxes in boxes. @param {Spot} root @param {number} width @param {number} height @returns {Drawing} */
export function boxes(root, width, height) {
  const laid = treemap().tile(treemapSquarify.ratio(1.3)).size([width, height]).round(false).paddingInner(2)
    .paddingOuter(3).paddingTop((node) => (node.children ? HEAD : 3))(/** @type {any} */ (nodes(root)));
  return {
    kind: 'treemap', width, height,
    shapes: shapes(/** @type {any} */ (laid), (node) => ({
      x1: Math.max(node.x0, node.x1), y1: Math.max(node.y0, node.y1), head: node.children ? HEAD : 0,
    })),
  };
}

/** Rings of directories around the one in the middle. @param {Spot} root @param {number} width @returns {Drawing} */
export function sunburst(root, width) {
  const tree = nodes(root);
  const laid = partition().size([2 * Math.PI, tree.height + 1])(/** @type {any} */ (tree));
  const radius = width / 2;
  const core = 0.2; // of the radius: room for a name; rings get narrower, so that all of them take their share
  const rings = tree.height;
  /** @param {number} depth */
  const at = (depth) => (depth <= 0 ? 0 : rings === 0 ? radius : radius * (core + ((1 - core) * (depth - 1)) / rings));
  return {
    kind: 'sunburst', width, height: width,
    shapes: shapes(/** @type {any} */ (laid), (node) => ({y0: at(node.depth), y1: at(node.depth + 1)})),
  };
}

/** Where an arrow key leads from a shape: in and out by depth, along by siblings. @param {Drawing} drawing @param {number} from @param {'in' | 'out' | 'next' | 'before'} way */
export function neighbour(drawing, from, way) {
  const {shapes: all} = drawing;
  const here = all[from];
  if (!here) return all.length ? 0 : -1;
  if (way === 'out') return here.up >= 0 ? here.up : from;
  if (way === 'in') return all[from + 1]?.up === from ? from + 1 : from;
  const row = all.flatMap((each, n) => (each.depth === here.depth ? [n] : []));
  const at = row.indexOf(from) + (way === 'next' ? 1 : -1);
  return row[at] ?? from;
}
