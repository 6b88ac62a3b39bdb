/** The finder: images, layers and files by what one types; arrow keys choose, Enter goes there. */

import {html, nothing} from 'lit-html';
import {counted, listed, short, shown, size} from '../words.js';

const PAUSE = 180; // milliseconds without a key, after which one asks
const MOST = 12; // of each kind

/** @typedef {{text: string, asked: string, at: number, timer: number}} State */
/** @typedef {{key: string, kind: string, href: string, name: string, note: string}} Hit */

/** @param {import('../app.js').App} app @returns {State} */
function remembered(app) {
  return app.memory('find', () => ({text: '', asked: '', at: 0, timer: 0}));
}

/** @returns {HTMLDialogElement | null} */
function dialog() {
  return /** @type {HTMLDialogElement | null} */ (document.getElementById('find'));
}

/** @param {import('../app.js').App} app */
export function open(app) {
  dialog()?.showModal();
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById('find-text'));
  field?.focus();
  field?.select();
  app.redraw();
}

/** @param {import('../app.js').App} app @param {string} ref the image whose files are looked through; '' for all images */
function hits(app, ref) {
  const {asked} = remembered(app);
  if (!asked) return {pending: false, rows: /** @type {Hit[]} */ ([])};
  const answer = app.asked.latest('find', `find ${ref} ${asked}`, () => app.source.search(asked, ref));
  const found = answer.value;
  /** @type {Hit[]} */
  const rows = !found ? [] : [
    ...found.images.slice(0, MOST).map((each) => ({key: `image ${each.ref}`, kind: 'image', href: app.router.href('image', each.ref), name: each.ref, note: size(each.stored)})),
    ...found.layers.slice(0, MOST).map((each) => ({
      key: `layer ${each.chain_id}`, kind: 'layer', href: app.router.href('layer', each.diff_id), name: short(each.diff_id), note: `${size(each.stored)}, in ${each.images.join(', ')}`,
    })),
    ...found.files.slice(0, 4 * MOST).map((each) => ({
      key: `file ${each.ref} ${each.path}`, kind: each.there ? 'file' : 'gone', href: app.router.href('history', '', {image: each.ref, path: each.path}), name: each.path,
      note: `${ref ? '' : `${each.ref}, `}layer${each.layers.length > 1 ? 's' : ''} ${listed(each.layers)}${each.there ? `, ${size(each.size)}` : ', deleted'}`,
    })),
  ];
  return {pending: answer.pending, error: answer.error, rows};
}

/** @param {import('../app.js').App} app */
export function find(app) {
  const state = remembered(app);
  const {route} = app.router;
  const ref = route.page === 'image' ? route.ref : route.page === 'history' ? app.router.get('image') : '';
  const isOpen = dialog()?.open ?? false;
  const {rows, pending, error} = isOpen ? hits(app, ref) : {rows: [], pending: false, error: undefined};
  state.at = Math.max(0, Math.min(state.at, rows.length - 1));
  const go = (/** @type {Hit | undefined} */ hit) => {
    if (!hit) return;
    dialog()?.close();
    app.router.go(hit.href);
  };
  return html`<dialog id="find" aria-label="Find" @close=${() => app.redraw()} @click=${(/** @type {MouseEvent} */ event) => event.target === event.currentTarget && dialog()?.close()}>
    <label class="search"><span class="sr">Find images, layers, files</span>
      <input id="find-text" type="search" role="combobox" autocomplete="off" spellcheck="false" aria-expanded=${rows.length ? 'true' : 'false'} aria-controls="found"
        aria-activedescendant=${rows.length ? `hit-${state.at}` : nothing} placeholder=${ref ? `A path of ${shown(ref)}, an image, a layer's digest` : 'An image, a path, a layer’s digest'} .value=${state.text}
        @input=${(/** @type {any} */ event) => typed(app, event.target.value)} @keydown=${(/** @type {KeyboardEvent} */ event) => {
          const by = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10}[event.key];
          if (by) state.at = Math.max(0, Math.min(rows.length - 1, state.at + by));
          else if (event.key === 'Escape') dialog()?.close(); // at once: a search field would only empty itself
          else if (event.key === 'Enter' && state.asked === state.text.trim()) go(rows[state.at]);
          else return;
          event.preventDefault();
          app.after.push(() => document.getElementById(`hit-${state.at}`)?.scrollIntoView({block: 'nearest'}));
          app.redraw();
        }}></label>
    <ul id="found" role="listbox" aria-label="Found">${rows.map((hit, n) => html`<li id=${`hit-${n}`} role="option" aria-selected=${n === state.at ? 'true' : 'false'} @click=${() => go(hit)}>
      <span class="chip">${hit.kind}</span><bdi>${shown(hit.name)}</bdi><span class="dim small"><bdi>${shown(hit.note)}</bdi></span></li>`)}</ul>
    <p class="dim small" role="status">${error ? shown(error.message) : pending ? 'Looking…' : !state.asked ? html`<kbd>*</kbd> and <kbd>?</kbd> stand for anything in a path.` : rows.length ? counted(rows.length, 'hit') : `Nothing has “${shown(state.asked)}”.`}</p>
  </dialog>`;
}

/** @param {import('../app.js').App} app @param {string} text */
function typed(app, text) {
  const state = remembered(app);
  state.text = text;
  clearTimeout(state.timer);
  state.timer = window.setTimeout(() => {
    state.asked = text.trim();
    state.at = 0;
    app.redraw();
  }, PAUSE);
}
