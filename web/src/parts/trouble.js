/** Failures and waiting, in words. */

import {html, nothing} from 'lit-html';
import {shown} from '../words.js';

/** @param {Error & {status?: number, hint?: string}} error @param {string} [hint] @param {string} [home] */
export function trouble(error, hint, home) {
  const heading = error.status === 404 || home ? 'Not found' : 'This could not be shown';
  return html`<section class="trouble" role="alert">
    <h1>${heading}</h1>
    <p>${shown(error.message)}</p>
    ${error.hint || hint ? html`<p class="dim">${shown(error.hint || hint)}</p>` : nothing}
    ${home ? html`<p><a href=${home}>All images</a></p>` : nothing}
  </section>`;
}

/** What stands where an answer is awaited, has failed, or `draw`s.
 * @template T @param {import('../data/asked.js').Answer<T>} answer @param {(value: T) => unknown} draw */
export function awaited(answer, draw) {
  if (answer.error) return trouble(answer.error);
  if (answer.value === undefined) return html`<p class="waiting" role="status">Looking…</p>`;
  return draw(answer.value);
}
