/** Images of the server this page came from. */

/** A failure in the server's own words. */
export class Refused extends Error {
  /** @param {number} status @param {string} message @param {string} hint */
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** @param {Query} query */
function search(query) {
  const pairs = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return pairs.length ? `?${new URLSearchParams(pairs.map(([key, value]) => [key, String(value)]))}` : '';
}

/** @implements {DataSource} */
export class FetchSource {
  embedded = false;
  /** @type {string[]} */
  order = [];

  /** @param {string} [root] */
  constructor(root = '/api/v1') {
    this.root = root;
  }

  /** @param {string} path @param {Query} [query] */
  async #ask(path, query = {}) {
    let answer;
    try {
      answer = await fetch(`${this.root}${path}${search(query)}`, {headers: {accept: 'application/json'}});
    } catch {
      throw new Refused(0, 'The server does not answer.', 'Is `veneer serve` still running?');
    }
    if (answer.ok) return answer.json();
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error ?? `The server answered ${answer.status}.`, told.hint ?? '');
  }

  /** @param {string} ref @param {string} what */
  #image(ref, what = '') {
    return `/images/${encodeURIComponent(ref)}${what}`;
  }

  /** @param {string} [q] */
  images(q) {
    return this.#ask('/images', {q});
  }

  /** @returns {Promise<Container[]>} */
  containers() {
    return this.#ask('/containers');
  }

  /** @param {string} q @param {string} [image] */
  search(q, image) {
    return this.#ask('/search', {q, image});
  }

  least() {
    return 0;
  }

  kinds() {
    return this.#ask('/badges');
  }

  /** @param {string} ref @param {string} [platform] */
  image(ref, platform) {
    return this.#ask(this.#image(ref), {platform});
  }

  /** @param {string} ref @param {Query} query */
  tree(ref, query) {
    return this.#ask(this.#image(ref, '/tree'), query);
  }

  /** @param {string} ref @param {Query} query */
  rollup(ref, query) {
    return this.#ask(this.#image(ref, '/rollup'), query);
  }

  /** @param {string} ref @param {string} path */
  history(ref, path) {
    return this.#ask(this.#image(ref, '/history'), {path});
  }

  /** @param {string} ref @param {string} by @param {string} [after] */
  waste(ref, by, after) {
    return this.#ask(this.#image(ref, '/waste'), {by, after});
  }

  /** @param {string} ref @param {string} [after] */
  findings(ref, after) {
    return this.#ask(this.#image(ref, '/findings'), {after});
  }

  /** @param {string} ref */
  labels(ref) {
    return this.#ask(this.#image(ref, '/labels'));
  }

  /** @param {string} ref */
  tags(ref) {
    return this.#ask(this.#image(ref, '/tags'));
  }

  /** @param {string} ref */
  dockerfile(ref) {
    return this.#ask(this.#image(ref, '/dockerfile'));
  }

  /** @param {string} ref @param {string} squash */
  whatif(ref, squash) {
    return this.#ask(this.#image(ref, '/whatif'), {squash});
  }

  /** @param {string} ref @param {string} path */
  without(ref, path) {
    return this.#ask(this.#image(ref, '/whatif'), {without: path});
  }

  /** @param {string} ref @param {string} other */
  having(ref, other) {
    return this.#ask(this.#image(ref, '/whatif'), {have: other});
  }

  /** @param {string[]} refs @param {string} [path] */
  compare(refs, path) {
    return this.#ask('/compare', {images: refs.join(','), path});
  }

  /** @param {string[]} refs @param {Query} query @returns {Promise<Beside>} */
  beside(refs, query) {
    return this.#ask('/compare/files', {...query, images: refs.join(',')});
  }

  /** @param {string} a @param {string} b @param {string} mode @param {string} [after] */
  diff(a, b, mode, after) {
    return this.#ask('/diff', {a, b, mode, after});
  }

  /** @param {string} diffId */
  layerImages(diffId) {
    return this.#ask(`/layers/${encodeURIComponent(diffId)}/images`);
  }

  /** Of a file, what can be read as text: at most 64 kB of it.
   * @param {string} ref @param {string} path @param {number} at */
  async text(ref, path, at) {
    const answer = await fetch(this.file(ref, path, at), {headers: {range: 'bytes=0-65535'}});
    if (!answer.ok) throw new Refused(answer.status, `The file cannot be shown (${answer.status}).`, '');
    return answer.text();
  }

  /** @param {string} ref @param {string} path @param {number} at */
  file(ref, path, at) {
    return `${this.root}${this.#image(ref, '/file')}${search({path, at})}`;
  }

  /** @param {string} kind @param {string} ref @param {'svg' | 'json'} form @param {string} [style] */
  badge(kind, ref, form, style) {
    const name = ref.split('/').map(encodeURIComponent).join('/').replaceAll('%3A', ':').replaceAll('%40', '@');
    return `/badges/${kind}/${name}.${form}${search({style})}`;
  }

  /** Only a page that is to be seen listens: a browser has six connections for all of one server's pages, and each that
   * listens has one.  @param {() => void} changed called when images came or went, or may have */
  watch(changed) {
    /** @type {EventSource | null} */
    let events = null;
    let timer = 0;
    const turned = (/** @type {boolean} */ again) => {
      if (document.visibilityState === 'hidden') {
        events?.close();
        events = null;
      } else if (!events) {
        events = new EventSource(`${this.root}/events`);
        let before = again;
        events.addEventListener('open', () => {
          if (before) changed(); // meanwhile nobody told
          before = true;
        });
        events.addEventListener('image', () => {
          clearTimeout(timer);
          timer = window.setTimeout(changed, 300); // several come at once
        });
      }
    };
    document.addEventListener('visibilitychange', () => turned(true));
    turned(false);
  }
}
