/** Images side by side as a wall of layers: what several have is one box, as wide as they stand together.
 *
 * Pure.  In: the trie of layers by chain ID.  Out: which image stands in which column, and boxes in units of columns
 * (`first`, `span`) and pixels from the ground (`y`, `height`), the base lowest.
 */

/** The lowest a box may be, in pixels; such a box is not to scale. */
export const LEAST = 20;

/** @typedef {'bytes' | 'log' | 'even'} Scale */
/** @typedef {'shared' | 'given' | 'size'} Order */
/** @typedef {{joint: Joint, first: number, span: number, y: number, height: number, scaled: boolean, parts: number, part: number}} Box */
/** @typedef {{columns: number[], boxes: Box[], tops: number[], height: number}} Wall */

/** @param {Joint[]} trie @param {(joint: Joint, depth: number) => void} visit parents first */
export function walk(trie, visit) {
  /** @type {[Joint, number][]} */
  const pending = trie.map((joint) => [joint, 0]);
  pending.reverse();
  while (pending.length) {
    const [joint, depth] = /** @type {[Joint, number]} */ (pending.pop());
    visit(joint, depth);
    for (let n = joint.children.length - 1; n >= 0; n -= 1) pending.push([joint.children[n], depth + 1]);
  }
}

/** The order of columns in which whatever is shared stands together: heavier subtrees first, in each the images that
 * end there before those that go on. @param {Joint[]} trie @param {number} count of images */
export function joined(trie, count) {
  /** @type {Map<Joint, number>} */
  const weights = new Map();
  /** @type {Joint[]} */
  const all = [];
  walk(trie, (joint) => all.push(joint));
  for (const joint of all.reverse()) {
    weights.set(joint, joint.children.reduce((sum, child) => sum + weighed(child), joint.stored));
  }
  /** @param {Joint} joint */
  function weighed(joint) {
    return weights.get(joint) ?? 0;
  }
  /** @param {Joint[]} joints */
  const heaviest = (joints) => [...joints].sort((a, b) => b.images.length - a.images.length || weighed(b) - weighed(a)
    || a.images[0] - b.images[0]);
  /** @type {number[]} */
  const columns = [];
  const placed = new Set();
  /** @param {number} image */
  const place = (image) => {
    if (!placed.has(image)) columns.push(image);
    placed.add(image);
  };
  const pending = heaviest(trie).reverse();
  while (pending.length) {
    const joint = /** @type {Joint} */ (pending.pop());
    const further = new Set(joint.children.flatMap((child) => child.images));
    joint.images.filter((image) => !further.has(image)).forEach(place);
    pending.push(...heaviest(joint.children).reverse());
  }
  for (let image = 0; image < count; image += 1) place(image); // images without layers
  return columns;
}

/** @param {Joint[]} trie @param {number} count */
function sums(trie, count) {
  const found = new Array(count).fill(0);
  walk(trie, (joint) => joint.images.forEach((image) => {
    found[image] += joint.stored;
  }));
  return found;
}

/** A wall of too many images: those that have the same last layer in common with others become one column, and what
 * they have alone one box, of which `count` says for how many images it stands.
 * @param {Joint[]} trie @param {number} count @returns {{trie: Joint[], groups: number[][]}} images by column */
export function folded(trie, count) {
  /** @type {(Joint | null)[]} */
  const owners = new Array(count).fill(null);
  walk(trie, (joint) => {
    if (joint.images.length > 1) joint.images.forEach((image) => (owners[image] = joint));
  });
  /** @type {Map<Joint | null, number>} */
  const numbers = new Map();
  /** @type {number[][]} */
  const groups = [];
  owners.forEach((owner, image) => {
    if (!numbers.has(owner)) numbers.set(owner, groups.push([]) - 1);
    groups[/** @type {number} */ (numbers.get(owner))].push(image);
  });
  const column = (/** @type {number} */ image) => /** @type {number} */ (numbers.get(owners[image]));
  /** @param {Joint[]} joints @returns {Joint[]} */
  const fold = (joints) => {
    const alone = joints.filter((joint) => joint.images.length === 1 && groups[column(joint.images[0])].length > 1);
    const kept = joints.filter((joint) => !alone.includes(joint))
      .map((joint) => ({...joint, images: [...new Set(joint.images.map(column))], children: fold(joint.children)}));
    if (!alone.length) return kept;
    let [stored, layers] = [0, 0];
    /** @type {number | null} */
    let inside = null;
    walk(alone, (joint) => {
      [stored, layers] = [stored + joint.stored, layers + 1];
      inside = joint.inside == null ? inside : (inside ?? 0) + joint.inside;
    });
    const {index, chain_id: first, images} = alone[0];
    return [...kept, {
      index, chain_id: `of ${first}`, diff_id: '', keyword: '', stored, inside, blob_size: null, blob_size_at_most: false, images: [column(images[0])], also: [], children: [],
      instruction: `${layers} layers of ${alone.length} images`, count: alone.length,
    }];
  };
  return {trie: fold(trie), groups};
}

/** Places in a row. @param {number[]} places ascending @returns {[number, number][]} (first, how many) */
export function runs(places) {
  /** @type {[number, number][]} */
  const found = [];
  for (const place of places) {
    const last = found.at(-1);
    if (last && last[0] + last[1] === place) last[1] += 1;
    else found.push([place, 1]);
  }
  return found;
}

/** Heights of layers: to scale, so that the highest column is `room` pixels beside what the least heights add.
 * @param {Joint[]} trie @param {number} count @param {Scale} scale @param {number} room
 * @returns {(stored: number) => {height: number, scaled: boolean}} */
function heights(trie, count, scale, room) {
  if (scale === 'even') return () => ({height: 34, scaled: true});
  const measure = scale === 'log' ? (/** @type {number} */ bytes) => Math.log2(1 + bytes / 1000) : (/** @type {number} */ bytes) => bytes;
  const columns = new Array(count).fill(0);
  walk(trie, (joint) => joint.images.forEach((image) => {
    columns[image] += measure(joint.stored);
  }));
  const most = Math.max(1e-9, ...columns);
  return (stored) => {
    const exact = (measure(stored) * room) / most;
    return {height: Math.max(LEAST, exact), scaled: exact >= LEAST};
  };
}

/** @param {Joint[]} trie @param {number} count @param {{order?: Order, scale?: Scale, room?: number}} [options] @returns {Wall} */
export function wall(trie, count, {order = 'shared', scale = 'bytes', room = 560} = {}) {
  const all = Array.from({length: count}, (_, image) => image);
  const weight = sums(trie, count);
  const columns = order === 'given' ? all
    : order === 'size' ? all.sort((a, b) => weight[b] - weight[a] || a - b) : joined(trie, count);
  const place = new Array(count).fill(0);
  columns.forEach((image, at) => {
    place[image] = at;
  });
  const high = heights(trie, count, scale, room);
  /** @type {Box[]} */
  const boxes = [];
  const tops = new Array(count).fill(0);
  walk(trie, (joint) => {
    const {height, scaled} = high(joint.stored);
    const stretches = runs(joint.images.map((image) => place[image]).sort((a, b) => a - b));
    stretches.forEach(([first, span], part) => {
      boxes.push({joint, first, span, y: tops[first], height, scaled, parts: stretches.length, part});
    });
    for (const [first, span] of stretches) for (let n = 0; n < span; n += 1) tops[first + n] += height;
  });
  return {columns, boxes, tops, height: Math.max(0, ...tops)};
}
