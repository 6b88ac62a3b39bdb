/** The files of one image that the page carries, as columns: trees between two depths, maps, and histories.
 *
 * The form and the words are those of `view/web/embedded.py`; the answers are those that the server gives to the same
 * questions, as far as the columns tell.  Pure.
 */

const TYPES = new Map(Object.entries({
  f: 'file', d: 'directory', l: 'symlink', h: 'hardlink', c: 'character', b: 'block', p: 'fifo',
}));
const CAUSES = ['', 'deleted', 'shadowed', 'replaced', 'overwritten', 'rewritten'];
const AFTER = /** @type {Record<number, Op>} */ ({3: 'O', 4: 'M', 5: 'P'});

/**
 * @typedef {object} Columns
 * @property {{up: number[], name: string, raw: Record<string, string>, copies: number[]}} paths
 * @property {{type: string, layer: number[], size: number[], mode: number[], owner: number[], mtime: number[], ended: number[],
 *   cause: number[], same: Record<string, number>, link: Record<string, string>, n: Record<string, number>}} copies
 * @property {[number, number][]} owners
 * @property {[number, number, number, number][]} names
 */
/** @typedef {{size: Float64Array, waste: Float64Array, entries: Uint32Array, changed: Uint32Array, holders: Uint32Array, moved: Moved}} Sums */
/** The bytes of copies that do not have what they store, or have what another stores, and the layer that stores them.
 * @typedef {Map<number, {size: number, layer: number}>} Moved */

export class Table {
  /** @param {Columns} columns @param {number} layers */
  constructor(columns, layers) {
    this.layers = layers;
    this.words = Math.ceil((layers + 1) / 32);
    this.columns = columns;
    const {paths, copies} = columns;
    this.names = paths.name.split('/');
    const count = paths.up.length;
    /** For each path the one it is in, -1 for the root. */
    this.parents = Int32Array.from(paths.up, (up, path) => (path ? path - up : -1));
    /** For each path where its copies begin, and one more. */
    this.first = new Uint32Array(count + 1);
    for (let path = 0; path < count; path += 1) this.first[path + 1] = this.first[path] + paths.copies[path];
    /** For each path the one after everything in it. */
    this.ends = new Uint32Array(count).map((_, path) => path + 1);
    for (let path = count - 1; path > 0; path -= 1) this.ends[this.parents[path]] = Math.max(this.ends[this.parents[path]], this.ends[path]);
    let time = 0;
    this.times = copies.mtime.map((step) => (time += step));
    /** Of each file with several names all of them, its own copy first. @type {Map<number, {layer: number, ended: number, copy: number}[]>} */
    this.linked = new Map();
    for (const [file, layer, ended, copy] of columns.names) {
      if (!this.linked.has(file)) this.linked.set(file, [{layer: copies.layer[file], ended: copies.ended[file], copy: file}]);
      this.linked.get(file)?.push({layer, ended, copy});
    }
    /** @type {Map<string, Sums>} */
    this.known = new Map();
  }

  /** @param {number} path */
  pathOf(path) {
    /** @type {string[]} */
    const parts = [];
    for (let at = path; at > 0; at = this.parents[at]) parts.push(this.names[at]);
    return `/${parts.reverse().join('/')}`;
  }

  /** The number of a path, -1 if no layer has it. @param {string} text */
  find(text) {
    let at = 0;
    for (const part of text.split('/').filter(Boolean)) {
      at = this.children(at).find((child) => this.names[child] === part) ?? -1;
      if (at < 0) return -1;
    }
    return at;
  }

  /** @param {number} path */
  children(path) {
    /** @type {number[]} */
    const found = [];
    for (let child = path + 1; child < this.ends[path]; child = this.ends[child]) found.push(child);
    return found;
  }

  /** A path's own copies in the lowest `at` layers, without what is folded into it. @param {number} path @param {number} at */
  copiesOf(path, at) {
    /** @type {number[]} */
    const found = [];
    for (let copy = this.first[path]; copy < this.first[path + 1]; copy += 1) {
      if (this.columns.copies.type[copy] !== 'x' && this.columns.copies.layer[copy] <= at) found.push(copy);
    }
    return found;
  }

  /** Whether a copy is to be seen with so many layers. @param {number} copy @param {number} at */
  isSeen(copy, at) {
    const {layer, ended} = this.columns.copies;
    return layer[copy] <= at && (ended[copy] === 0 || ended[copy] > at);
  }

  /** @param {number} path @param {number} at */
  seenOf(path, at) {
    return this.copiesOf(path, at).find((copy) => this.isSeen(copy, at)) ?? -1;
  }

  /** How a copy differs from an earlier one of the same path: '' if not. @param {number} before @param {number} now @returns {Op | ''} */
  difference(before, now) {
    if (before === now) return '';
    const {type, mode, owner, same} = this.columns.copies;
    const kind = (/** @type {number} */ copy) => (type[copy] === 'h' ? 'f' : type[copy]);
    if (kind(before) !== kind(now)) return 'O';
    if (type[now] === 'd') return mode[before] === mode[now] && owner[before] === owner[now] ? '' : 'P';
    const root = (/** @type {number} */ copy) => same[copy] ?? copy;
    return root(before) === root(now) ? 'P' : 'M';
  }

  /** Names of what differs. @param {number} before @param {number} now */
  fields(before, now) {
    const {mode, owner, link} = this.columns.copies;
    const found = [];
    const op = this.difference(before, now);
    if (op === 'O') found.push('type');
    if (op === 'M') found.push(link[now] === undefined ? 'content' : 'target');
    if (mode[before] !== mode[now]) found.push('mode');
    if (owner[before] !== owner[now]) found.push('owner');
    if (!found.length && this.times[before] !== this.times[now]) found.push('time');
    return found;
  }

  /** Sums of every path and what is in it, with `at` layers beside `since`. @param {number} at @param {number} since */
  sums(at, since) {
    const key = `${at} ${since}`;
    const known = this.known.get(key);
    if (known) return known;
    if (this.known.size > 8) this.known.clear();
    const made = this.#summed(at, since);
    this.known.set(key, made);
    return made;
  }

  /** @param {number} at @param {number} since @returns {Sums} */
  #summed(at, since) {
    const count = this.parents.length;
    const sums = {
      size: new Float64Array(count), waste: new Float64Array(count), entries: new Uint32Array(count), changed: new Uint32Array(count),
      holders: new Uint32Array(count * this.words), moved: this.moved(at),
    };
    for (let path = count - 1; path >= 0; path -= 1) {
      this.#own(path, at, since, sums);
      const up = this.parents[path];
      if (up < 0) continue;
      sums.size[up] += sums.size[path];
      sums.waste[up] += sums.waste[path];
      sums.entries[up] += sums.entries[path];
      sums.changed[up] += sums.changed[path];
      for (let word = 0; word < this.words; word += 1) sums.holders[up * this.words + word] |= sums.holders[path * this.words + word];
    }
    return sums;
  }

  /** Which names have the bytes of files with several, with `at` layers: the first to be seen, else the one that went last.
   * @param {number} at @returns {Moved} */
  moved(at) {
    const {layer, size} = this.columns.copies;
    /** @type {Moved} */
    const found = new Map();
    for (const [file, names] of this.linked) {
      if (layer[file] > at || this.isSeen(file, at)) continue;
      const there = names.filter((name) => name.layer <= at);
      const owner = there.find((name) => name.ended === 0 || name.ended > at) ?? there.reduce((last, name) => (name.ended > last.ended ? name : last));
      if (owner.copy === file) continue;
      found.set(file, {size: 0, layer: layer[file]});
      found.set(owner.copy, {size: size[file], layer: layer[file]});
    }
    return found;
  }

  /** @param {number} path @param {number} at @param {number} since @param {Sums} sums */
  #own(path, at, since, sums) {
    const {copies} = this.columns;
    let [before, now] = [-1, -1];
    for (let copy = this.first[path]; copy < this.first[path + 1]; copy += 1) {
      const layer = copies.layer[copy];
      if (layer > at) continue;
      const folded = copies.type[copy] === 'x';
      const many = folded ? copies.n[copy] : 1;
      const {size, layer: holder} = sums.moved.get(copy) ?? {size: copies.size[copy], layer};
      if (size) sums.holders[path * this.words + (holder >> 5)] |= 1 << (holder & 31);
      const [was, is] = [since > 0 && this.isSeen(copy, since), this.isSeen(copy, at)];
      if (is) {
        sums.size[path] += size;
        sums.entries[path] += many;
      } else sums.waste[path] += size;
      if (folded) sums.changed[path] += was === is ? 0 : many;
      else [before, now] = [was ? copy : before, is ? copy : now];
    }
    if ((before < 0) !== (now < 0) || (before >= 0 && this.difference(before, now))) sums.changed[path] += 1;
  }

  /** @param {Sums} sums @param {number} path */
  holders(sums, path) {
    const found = [];
    for (let layer = 1; layer <= this.layers; layer += 1) {
      if (sums.holders[path * this.words + (layer >> 5)] & (1 << (layer & 31))) found.push(layer);
    }
    return found;
  }

  /** @param {number} path @param {number} at @param {number} since @returns {Entry | null} null where these layers do not have it */
  entry(path, at, since) {
    const {copies, owners} = this.columns;
    const own = this.copiesOf(path, at);
    const sums = this.sums(at, since);
    if (!own.length && path > 0 && !sums.entries[path] && !sums.waste[path]) return null;
    const now = own.find((copy) => this.isSeen(copy, at)) ?? -1;
    const before = since > 0 ? (own.find((copy) => this.isSeen(copy, since)) ?? -1) : -1;
    const shown = now >= 0 ? now : before >= 0 ? before : (own.at(-1) ?? -1);
    /** @type {Op} */
    let op = 'U';
    if (now >= 0) op = before < 0 ? 'A' : (this.difference(before, now) || 'U');
    else if (own.length && copies.ended[/** @type {number} */ (own.at(-1))] > since) op = 'D';
    const type = shown < 0 ? 'directory' : (TYPES.get(copies.type[shown]) ?? 'file');
    if (op === 'U' && sums.changed[path] && type === 'directory') op = 'M';
    const [uid, gid] = shown < 0 ? [0, 0] : owners[copies.owner[shown]];
    return {
      name: this.names[path], path: this.pathOf(path), type, op, there: now >= 0 || path === 0 || (shown < 0 && sums.entries[path] > 0),
      size: sums.size[path], waste: sums.waste[path], layers: this.holders(sums, path),
      mode: shown < 0 ? '0755' : copies.mode[shown].toString(8).padStart(4, '0'), uid, gid,
      mtime: shown < 0 ? '' : stamp(this.times[shown]), link: copies.link[shown] ?? '',
      changed: before >= 0 && now >= 0 ? this.fields(before, now) : [],
      children: type === 'directory' ? Math.max(0, sums.entries[path] - (now >= 0 ? 1 : 0)) : 0,
    };
  }

  /** What is folded into a directory. @param {number} path @param {number} at */
  folded(path, at) {
    const {copies} = this.columns;
    const found = {n: 0, size: 0, waste: 0};
    for (let copy = this.first[path]; copy < this.first[path + 1]; copy += 1) {
      if (copies.type[copy] !== 'x' || copies.layer[copy] > at) continue;
      found.n += copies.n[copy];
      if (this.isSeen(copy, at)) found.size += copies.size[copy];
      else found.waste += copies.size[copy];
    }
    return found;
  }

  /** What each layer did to a path. @param {number} path @param {(layer: number) => string} instruction @returns {FileEvent[]} */
  events(path, instruction) {
    const {copies, owners} = this.columns;
    /** @type {FileEvent[]} */
    const found = [];
    const event = (/** @type {number} */ copy, /** @type {Op} */ op, /** @type {number} */ layer, /** @type {number} */ before) => {
      const [uid, gid] = owners[copies.owner[copy]];
      const same = copies.same[copy] ?? copy;
      found.push({
        path: this.pathOf(path), layer, op, type: TYPES.get(copies.type[copy]) ?? '', size: op === 'D' ? 0 : copies.size[copy],
        mode: copies.mode[copy].toString(8).padStart(4, '0'), uid, gid, mtime: stamp(this.times[copy]), link: copies.link[copy] ?? '',
        sha256: op === 'D' ? '' : `same ${same}`, fields_changed: before >= 0 ? this.fields(before, copy) : [],
        cause: op === 'D' ? CAUSES[copies.cause[copy]] : '', by: '', instruction: instruction(layer),
        names: op === 'D' ? [] : this.beside(copy, layer, path),
        broke: before >= 0 && copies.cause[before] > 3 && !this.#file(before).some((name) => name.copy === copy) ? this.beside(before, layer, path) : [],
      });
    };
    let before = -1;
    for (const copy of this.copiesOf(path, this.layers)) {
      const follows = before >= 0 && copies.ended[before] === copies.layer[copy];
      if (before >= 0 && !follows) event(before, 'D', copies.ended[before], -1);
      event(copy, follows ? (AFTER[copies.cause[before]] ?? 'A') : 'A', copies.layer[copy], follows ? before : -1);
      before = copy;
    }
    if (before >= 0 && copies.ended[before]) event(before, 'D', copies.ended[before], -1);
    return found;
  }

  /** All names of the file that a copy is one of. @param {number} copy */
  #file(copy) {
    return this.linked.get(copy) ?? [...this.linked.values()].find((names) => names.some((name) => name.copy === copy)) ?? [];
  }

  /** The other names of a copy's file that are to be seen with the lowest layers. @param {number} copy @param {number} at @param {number} path */
  beside(copy, at, path) {
    const others = this.#file(copy).filter((name) => name.layer <= at && (!name.ended || name.ended > at)).map((name) => this.#pathAt(name.copy));
    return [...new Set(others)].filter((other) => other !== path).map((other) => this.pathOf(other));
  }

  /** Whose copy it is. @param {number} copy */
  #pathAt(copy) {
    let [low, high] = [0, this.names.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.first[middle] <= copy) low = middle;
      else high = middle;
    }
    return low;
  }

  /** What one layer stores at a path and in it; null if it has nothing to do with it. @param {string} text @param {number} layer */
  inside(text, layer) {
    const path = this.find(text);
    if (path < 0) return null;
    const {copies} = this.columns;
    let [stored, any] = [0, false];
    for (let copy = this.first[path]; copy < this.first[this.ends[path]]; copy += 1) {
      if (copies.layer[copy] === layer) [stored, any] = [stored + copies.size[copy], true];
      any ||= copies.ended[copy] === layer;
    }
    return any ? stored : null;
  }

  /** What would not be stored without a path and all in it: a file that has a name elsewhere would. @param {number} path */
  weight(path) {
    const {size} = this.columns.copies;
    const [from, to] = [this.first[path], this.first[this.ends[path]]];
    const isInside = (/** @type {number} */ copy) => copy >= from && copy < to;
    let sum = 0;
    for (let copy = from; copy < to; copy += 1) if (this.linked.get(copy)?.every((name) => isInside(name.copy)) ?? true) sum += size[copy];
    return sum;
  }

  /** Paths whose name has a text in it, or that a pattern with * and ? is like; in the order of the table.
   * @param {string} wanted @param {number} most */
  named(wanted, most) {
    const globbing = /[*?]/.test(wanted);
    const pattern = new RegExp(`^${wanted.replace(/[\\^$.+()|{}[\]]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
    const found = [];
    const moved = this.moved(this.layers);
    for (let path = 1; path < this.names.length && found.length < most; path += 1) {
      const name = this.names[path];
      const full = globbing || wanted.includes('/') ? this.pathOf(path) : '';
      if (!(globbing ? pattern.test(wanted.includes('/') ? full : name) : wanted.includes('/') ? full.includes(wanted) : name.includes(wanted))) continue;
      const own = this.copiesOf(path, this.layers);
      const seen = own.find((copy) => this.isSeen(copy, this.layers)) ?? -1;
      if (own.length) found.push({path: full || this.pathOf(path), size: seen < 0 ? 0 : (moved.get(seen)?.size ?? this.columns.copies.size[seen]), there: seen >= 0, layers: own.map((copy) => this.columns.copies.layer[copy])});
    }
    return found;
  }

  /** The bytes that go when layers first to last become one. @param {number} first @param {number} last */
  squashed(first, last) {
    const {copies} = this.columns;
    let saved = 0;
    copies.size.forEach((size, copy) => {
      const names = this.linked.get(copy) ?? [];
      // A file with several names went when the last of them did.
      const ended = names.some((name) => !name.ended) ? 0 : Math.max(copies.ended[copy], ...names.map((name) => name.ended));
      if (ended && first <= copies.layer[copy] && ended <= last) saved += size;
    });
    return saved;
  }
}

/** @param {number} seconds */
function stamp(seconds) {
  return seconds >= 0 && seconds < 253402300800 ? new Date(seconds * 1000).toISOString().replace('.000', '') : '';
}
