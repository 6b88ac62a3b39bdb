/** The keys: one table tells and one function listens. */

import {html} from 'lit-html';

const TABLE = [
  ['Everywhere', [
    ['/', 'find: an image, a layer, a path; also Ctrl K'], ['?', 'this list'], ['t', 'theme: auto, light, dark'], ['g', 'all images'], ['Esc', 'close, leave a field'],
  ]],
  ['An image', [
    ['← →', 'on the slider: one layer less, one more'], ['[ ]', 'since one layer earlier, later'], ['a', 'all layers, or only the topmost shown'],
    ['p', 'play: peel from the base up'], ['1 … 8', 'the tabs'],
    ['A M P D O', 'in the table: show or leave out a state'], ['s', 'sort by the next column'], ['m', 'icicle, treemap, sunburst'],
  ]],
  ['Table of files', [
    ['↑ ↓', 'one row'], ['→ ←', 'open, close; into, out of'], ['Home End', 'first and last row'], ['Enter', "a file's history"],
  ]],
  ['Map', [['↑ ↓ ← →', 'out, in, along'], ['Enter', 'zoom in'], ['Backspace', 'zoom out'], ['h', 'history']]],
  ['Compare', [['↑ ↓ ← →', 'from box to box'], ['l', 'lock the journal on this image'], ['Enter', 'open the image at this layer']]],
];

/** @param {Event} event */
function close(event) {
  const dialog = /** @type {HTMLElement} */ (event.target).closest('dialog');
  if (dialog) dialog.close();
}

export function help() {
  return html`<dialog id="help" aria-labelledby="help-title">
    <div class="row"><h2 id="help-title">Keys</h2><span class="grow"></span><button class="quiet" @click=${close} aria-label="Close">✕</button></div>
    <div class="keys">${TABLE.map(([name, rows]) => html`<section><h3>${name}</h3><dl>${/** @type {string[][]} */ (rows).map(
      ([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl></section>`)}</div>
  </dialog>`;
}

/** @param {import('../app.js').App} app @param {KeyboardEvent} event */
export function keys(app, event) {
  const target = event.target instanceof HTMLElement ? event.target : document.body;
  const typing = target.matches('input:not([type=radio],[type=checkbox]), textarea, select');
  if (typing && event.key === 'Escape') target.blur();
  if (event.key === 'k' && (event.ctrlKey || event.metaKey) && !document.querySelector('dialog[open]')) {
    event.preventDefault();
    app.find();
    return;
  }
  if (event.defaultPrevented || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector('dialog[open]')) return;
  const act = app.keys.get(event.key);
  if (act) act();
  else if (event.key === '?') app.ask();
  else if (event.key === 't') /** @type {HTMLElement | null} */ (document.querySelector('.top .theme'))?.click();
  else if (event.key === 'g') app.router.go(app.router.href('images'));
  else if (event.key === '/') app.find();
  else return;
  event.preventDefault();
}
