/** Where one is: the page, what it is about, and everything that was chosen on it, all in the address.
 *
 * Served, that is the path and its query; in a report opened from a file, the same behind `#`.
 */

/** @typedef {{page: string, ref: string, query: URLSearchParams}} Route */

const PAGES = new Set(['compare', 'history', 'diff']);

/** @param {string} path @param {string} search @returns {Route} */
export function parse(path, search) {
  const query = new URLSearchParams(search);
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.length === 0) return {page: 'images', ref: '', query};
  if (parts.length === 1 && PAGES.has(parts[0])) return {page: parts[0], ref: '', query};
  if (parts.length >= 2 && (parts[0] === 'i' || parts[0] === 'l')) {
    return {page: parts[0] === 'i' ? 'image' : 'layer', ref: decoded(parts.slice(1).join('/')), query};
  }
  return {page: 'nowhere', ref: path, query};
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Keeps what is readable in an address readable. @param {string} text */
function encoded(text) {
  return encodeURIComponent(text).replace(/%(3A|40|2C)/g, (found) => decodeURIComponent(found));
}

/** @param {string} page @param {string} ref @param {Query | URLSearchParams} [query] */
export function address(page, ref, query = {}) {
  const path = page === 'images' ? '/' : page === 'image' ? `/i/${encoded(ref)}`
    : page === 'layer' ? `/l/${encoded(ref)}` : `/${page}`;
  const pairs = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const kept = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  const search = kept.map(([key, value]) => `${key}=${encoded(String(value)).replaceAll('%2F', '/')}`).join('&');
  return search ? `${path}?${search}` : path;
}

export class Router {
  /** @param {boolean} hashed @param {(elsewhere: boolean) => void} moved told whether one is on another page now */
  constructor(hashed, moved) {
    this.hashed = hashed;
    this.moved = moved;
    this.route = this.#read();
    const again = () => {
      const before = this.route;
      this.route = this.#read();
      moved(before.page !== this.route.page || before.ref !== this.route.ref);
    };
    addEventListener('popstate', again);
    addEventListener('hashchange', again);
  }

  #read() {
    if (!this.hashed) return parse(location.pathname, location.search);
    const [path, search = ''] = location.hash.slice(1).split('?', 2);
    return parse(path || '/', search);
  }

  /** @param {string} page @param {string} [ref] @param {Query | URLSearchParams} [query] */
  href(page, ref = '', query = {}) {
    return (this.hashed ? '#' : '') + address(page, ref, query);
  }

  /** The same page with some choices changed; null takes one away. @param {Query} changes */
  here(changes) {
    const query = new URLSearchParams(this.route.query);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === '') query.delete(key);
      else query.set(key, String(value));
    }
    return this.href(this.route.page, this.route.ref, query);
  }

  /** Choose; the address tells it, the history does not grow. @param {Query} changes */
  set(changes) {
    history.replaceState(null, '', this.here(changes));
    this.route = this.#read();
    this.moved(false);
  }

  /** @param {string} href */
  go(href) {
    if (this.hashed) {
      location.hash = href.replace(/^#/, '');
      return;
    }
    history.pushState(null, '', href);
    this.route = this.#read();
    scrollTo(0, 0);
    this.moved(true);
  }

  /** @param {string} name */
  get(name) {
    return this.route.query.get(name) ?? '';
  }

  /** A number between two, or `otherwise`. @param {string} name @param {number} otherwise @param {number} least @param {number} most */
  number(name, otherwise, least, most) {
    const text = this.get(name);
    const value = /^\d{1,9}$/.test(text) ? Number(text) : otherwise;
    return Math.min(most, Math.max(least, value));
  }

  /** @param {string} name @param {string[]} choices the first one if none is chosen */
  choice(name, choices) {
    const value = this.get(name);
    return choices.includes(value) ? value : choices[0];
  }
}
