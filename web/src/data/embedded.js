/** Images that this page carries with it, asked as a server would be. */

import {walk} from '../layout/wall.js';
import {Refused} from './fetch.js';
import {Table} from './table.js';

/** @typedef {import('./table.js').Columns & {format: number, least: number, image: Image, labels: Labels, waste: Record<string, Wasted>, diffs: Difference[], findings: Findings}} Document */

/** @param {string} packed base64 of gzip of JSON */
async function unpacked(packed) {
  const text = atob(packed.replace(/\s+/g, ''));
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

const MOST_FOUND = 50;

/** @implements {DataSource} */
export class EmbeddedSource {
  embedded = true;

  /** @param {Document[]} documents */
  constructor(documents) {
    this.found = new Map(documents.map((each) => [each.image.ref, {
      document: each, table: new Table(each, each.image.layers.length),
    }]));
    this.order = [...this.found.keys()];
  }

  /** @param {string[]} packed */
  static async read(packed) {
    return new EmbeddedSource(await Promise.all(packed.map(unpacked)));
  }

  /** @param {string} ref */
  #of(ref) {
    const found = this.found.get(ref);
    if (!found) throw new Refused(404, `This report has no image ${ref}.`, 'It has those of its first page.');
    return found;
  }

  /** @param {string} ref */
  least(ref) {
    return this.#of(ref).document.least;
  }

  async images() {
    return [...this.found.values()].map(({document: {image}}) => ({...image, layers: image.layers.length}));
  }

  /** @param {string} q @param {string} [image] whose files are looked through; those of all images without it @returns {Promise<Found>} */
  async search(q, image) {
    const wanted = q.toLowerCase();
    const all = await this.images();
    const layers = /^(sha256:)?[0-9a-f]{4,64}$/.test(wanted) ? all.flatMap((each) => this.#of(each.ref).document.image.layers) : [];
    const known = new Map(layers.filter((layer) => layer.diff_id.includes(wanted) || layer.chain_id.includes(wanted)).map((layer) => [layer.chain_id, layer]));
    const files = (image ? [image] : [...this.found.keys()]).flatMap((ref) => this.#of(ref).table.named(q, MOST_FOUND).map((file) => ({ref, ...file})));
    return {
      q, images: all.filter((each) => [each.ref, each.id, ...each.tags].some((name) => name.toLowerCase().includes(wanted))), files: files.slice(0, MOST_FOUND),
      layers: [...known.values()].map((layer) => ({...layer, images: [...this.found.keys()].filter((ref) => this.#of(ref).document.image.layers.some((each) => each.chain_id === layer.chain_id))})),
      truncated: files.length > MOST_FOUND,
    };
  }

  /** @param {string} ref */
  async image(ref) {
    return this.#of(ref).document.image;
  }

  /** @param {string} ref @param {Query} query */
  async tree(ref, query) {
    const {table} = this.#of(ref);
    const [at, since] = [Number(query.at ?? table.layers), Number(query.since ?? 0)];
    const path = this.#path(table, String(query.path ?? '/'));
    const show = String(query.show ?? '');
    const name = String(query.q ?? '').toLowerCase();
    const changed = table.sums(at, since).changed;
    const entries = table.children(path).flatMap((child) => {
      const entry = table.entry(child, at, since);
      if (!entry || !entry.name.toLowerCase().includes(name)) return [];
      const inside = entry.type === 'directory' && changed[child] > 0;
      if (!entry.there && !query.hidden && !show.includes(entry.op)) return inside && show ? [entry] : [];
      return !show || show.includes(entry.op) || (inside && show !== 'U') ? [entry] : [];
    });
    entries.sort(order(String(query.sort ?? 'size')));
    const rest = table.folded(path, at);
    if (rest.n && !name) entries.push(smaller(rest, table.pathOf(path)));
    const limit = Number(query.limit ?? 200);
    const begin = Number(query.after || 0);
    const end = begin + limit;
    return {path: table.pathOf(path), at, since, total: entries.length, entries: entries.slice(begin, end), next: end < entries.length ? String(end) : null};
  }

  /** @param {Table} table @param {string} text */
  #path(table, text) {
    const path = table.find(text);
    if (path < 0) throw new Refused(404, `${text} is in no layer, or too small to be in this report.`, '');
    return path;
  }

  /** @param {string} ref @param {Query} query @returns {Promise<Rolled>} */
  async rollup(ref, query) {
    const {table} = this.#of(ref);
    const [at, since] = [Number(query.at ?? table.layers), Number(query.since ?? 0)];
    const top = this.#path(table, String(query.path ?? '/'));
    const sums = table.sums(at, since);
    const least = Math.max(1, Number(query.min ?? (sums.size[top] + sums.waste[top]) / 300));
    /** @param {number} path @param {number} depth @returns {Rolled} */
    const rolled = (path, depth) => {
      const entry = table.entry(path, at, since);
      const layers = table.holders(sums, path);
      const other = table.folded(path, at);
      /** @type {Rolled[]} */
      const children = [];
      for (const child of depth > 0 ? table.children(path) : []) {
        const [size, waste] = [sums.size[child], sums.waste[child]];
        if (size + waste >= least) children.push(rolled(child, depth - 1));
        else if (size + waste) [other.n, other.size, other.waste] = [other.n + 1, other.size + size, other.waste + waste];
      }
      return {
        name: path ? table.names[path] : '/', path: table.pathOf(path), type: entry?.type ?? 'directory', op: entry?.op ?? 'U', size: sums.size[path],
        waste: sums.waste[path], entries: sums.entries[path], layer: layers.length === 1 ? layers[0] : 0, layers, children,
        ...(other.n && depth > 0 ? {other} : {}),
      };
    };
    return rolled(top, Number(query.depth ?? 3));
  }

  /** @param {string} ref @param {string} path */
  async history(ref, path) {
    const {table, document} = this.#of(ref);
    const number = this.#path(table, path);
    const {copies} = document;
    const own = table.copiesOf(number, table.layers);
    const seen = table.seenOf(number, table.layers);
    return {
      path, events: table.events(number, (layer) => document.image.layers[layer - 1]?.instruction ?? ''),
      verdict: {stored: own.reduce((sum, copy) => sum + copies.size[copy], 0), visible: seen < 0 ? 0 : copies.size[seen]},
    };
  }

  /** @param {string} ref @param {string} by */
  async waste(ref, by) {
    return this.#of(ref).document.waste[by];
  }

  /** @param {string} ref */
  async findings(ref) {
    return {...this.#of(ref).document.findings, next: null};
  }

  /** @param {string} ref */
  async labels(ref) {
    return {...this.#of(ref).document.labels, identical: []};
  }

  async tags() {
    return {groups: []};
  }

  /** @returns {Promise<Dockerfile>} */
  async dockerfile() {
    throw new Refused(404, 'The Dockerfile is not in this report.', '`veneer image dockerfile` tells it.');
  }

  /** @param {string} ref @param {string} squash */
  async whatif(ref, squash) {
    const {table, document} = this.#of(ref);
    const [first, last] = squash.split('-').map(Number);
    const saved = table.squashed(first, last);
    const {stored} = document.image;
    return {saved, stored: stored - saved, stored_now: stored};
  }

  /** @param {string} ref @param {string} path */
  async without(ref, path) {
    const {table, document} = this.#of(ref);
    const saved = table.weight(this.#path(table, path));
    const {stored} = document.image;
    return {saved, stored: stored - saved, stored_now: stored};
  }

  /** @param {string} ref @param {string} other */
  async having(ref, other) {
    const here = new Set(this.#of(other).document.image.layers.map((layer) => layer.diff_id));
    const {layers, blob_size: all} = this.#of(ref).document.image;
    const missing = layers.filter((layer) => !here.has(layer.diff_id)).map((layer) => layer.blob_size);
    return {pull: missing.includes(null) ? null : missing.reduce((sum, each) => /** @type {number} */ (sum) + /** @type {number} */ (each), 0), pull_now: all};
  }

  /** @param {string[]} refs @param {string} [path] */
  async compare(refs, path) {
    const here = refs.filter((ref) => this.found.has(ref));
    const errors = refs.filter((ref) => !this.found.has(ref)).map((ref) => ({ref, error: 'This report does not have it.', hint: ''}));
    const found = compared(here.map((ref) => this.#of(ref).document.image), errors);
    if (path) walk(found.trie, (joint) => (joint.inside = this.#of(here[joint.images[0]]).table.inside(path, joint.index)));
    return found;
  }

  /** @returns {Promise<Beside>} */
  async beside() {
    throw new Refused(404, 'A report does not set files side by side.', '`veneer serve` does; `veneer image compare` tells of layers.');
  }

  /** @param {string} a @param {string} b @param {string} mode @returns {Promise<Difference>} */
  async diff(a, b, mode) {
    for (const {document} of this.found.values()) {
      const found = document.diffs.find((each) => each.a === a && each.b === b && each.mode === mode);
      if (found) return {...found, next: null};
    }
    throw new Refused(404, `This report does not say how ${b} differs from ${a}.`, 'It has how each of its images differs from the first one; `veneer image diff` tells the rest.');
  }

  async containers() {
    return [];
  }

  /** @param {string} diffId @returns {Promise<Places>} */
  async layerImages(diffId) {
    const places = [...this.found.values()].flatMap(({document: {image}}) => image.layers.filter((layer) => layer.diff_id === diffId).map((layer) => ({image, layer})));
    if (!places.length) throw new Refused(404, `No image of this report has a layer ${diffId}.`, '');
    const [{layer}] = places;
    return {
      diff_id: diffId, stored: layer.stored, entries: layer.n.A + layer.n.M + layer.n.P + layer.n.O,
      blobs: layer.blob_digest ? [{digest: layer.blob_digest, size: layer.blob_size ?? 0, media_type: layer.media_type}] : [],
      images: places.map((each) => ({ref: each.image.ref, id: each.image.id, layer: each.layer.index, chain_id: each.layer.chain_id})),
    };
  }

  async kinds() {
    return {kinds: [], styles: []};
  }

  async text() {
    return '';
  }

  file() {
    return null;
  }

  badge() {
    return '';
  }

  watch() {}
}

/** @param {string} by @returns {(a: Entry, b: Entry) => number} */
function order(by) {
  const name = (/** @type {Entry} */ a, /** @type {Entry} */ b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  if (by === 'name') return name;
  if (by === 'waste') return (a, b) => b.waste - a.waste || b.size - a.size || name(a, b);
  if (by === 'layer') return (a, b) => (b.layers.at(-1) ?? 0) - (a.layers.at(-1) ?? 0) || name(a, b);
  return (a, b) => b.size - a.size || b.waste - a.waste || name(a, b);
}

/** What is too small to be in the page, as one row. @param {{n: number, size: number, waste: number}} rest @param {string} path @returns {Entry} */
function smaller(rest, path) {
  return {
    name: `… ${rest.n} smaller ones, not in this report`, path: `${path}/…`, type: 'folded', op: 'U', there: true, size: rest.size, waste: rest.waste,
    layers: [], mode: '', uid: 0, gid: 0, mtime: '', link: '', changed: [], children: 0,
  };
}

/** The trie of some images' layers. @param {Image[]} images @param {Comparison['errors']} errors @returns {Comparison} */
export function compared(images, errors) {
  /** @type {Map<string, Joint>} */
  const joints = new Map();
  /** @type {Map<string, Set<number>>} */
  const contents = new Map();
  /** @type {Joint[]} */
  const trie = [];
  images.forEach((image, number) => {
    let row = trie;
    for (const layer of image.layers) {
      const known = joints.get(layer.chain_id);
      const joint = known ?? {...layer, images: [], also: [], children: []};
      if (!known) {
        joints.set(layer.chain_id, joint);
        row.push(joint);
      }
      joint.images.push(number);
      const held = contents.get(layer.diff_id) ?? new Set();
      contents.set(layer.diff_id, held.add(number));
      row = joint.children;
    }
  });
  for (const joint of joints.values()) joint.also = [...(contents.get(joint.diff_id) ?? [])].filter((image) => !joint.images.includes(image));
  const all = [...joints.values()];
  const unshared = images.reduce((sum, image) => sum + image.stored, 0);
  const unique = all.reduce((sum, joint) => sum + joint.stored, 0);
  const disk = [...new Map(all.map((joint) => [joint.diff_id, joint.stored])).values()].reduce((sum, stored) => sum + stored, 0);
  return {
    images, trie, unshared, unique, saved: unshared - disk, unique_layers: all.length, largest: Math.max(0, ...all.map((joint) => joint.stored)),
    average: all.length ? Math.floor(unique / all.length) : 0, errors,
  };
}
