/** A button that puts a text into the clipboard. */

import {html} from 'lit-html';

/** @param {import('../app.js').App} app @param {string} text @param {string} label */
export function copy(app, text, label) {
  return html`<button class="quiet" aria-label=${label} title=${label} @click=${() => copied(app, text)}>Copy</button>`;
}

/** @param {import('../app.js').App} app @param {string} text */
export async function copied(app, text) {
  try {
    await navigator.clipboard.writeText(text);
    app.say('Copied.');
  } catch {
    app.say('The browser does not allow copying here.');
  }
}
