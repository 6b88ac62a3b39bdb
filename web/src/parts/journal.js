/** The journal: all that was done up to the box one points at, or of the image one has locked. */

import {html, nothing} from 'lit-html';
import {family, letterOf, shown, size, told} from '../words.js';

/** @param {import('../app.js').App} app @param {Comparison} found @param {import('./grid.js').State} state */
export function journal(app, found, state) {
  const lock = app.router.get('lock');
  const locked = found.images.find((image) => image.ref === lock);
  const pointed = state.joint;
  const image = locked ?? (state.image !== null ? found.images[state.image] : pointed ? found.images.find((each) => each.layers[pointed.index - 1]?.chain_id === pointed.chain_id) : undefined) ?? found.images[0];
  if (!image) return nothing;
  const until = !locked && pointed && image.layers[pointed.index - 1]?.chain_id === pointed.chain_id ? pointed.index : image.layers.length;
  const rows = image.layers.slice(0, until);
  const total = rows.reduce((sum, layer) => sum + layer.stored, 0);
  return html`<div class="row"><h2>Journal</h2><span class="grow"></span>${locked ? html`<button class="quiet" @click=${() => app.router.set({lock: null})}>Unlock</button>` : nothing}</div>
    <p class="dim small"><bdi>${shown(image.ref)}</bdi>${until < image.layers.length ? ` up to layer ${until}` : ''}: ${size(total)}</p>
    <ol class="journal">${rows.map((layer) => html`<li class=${pointed?.chain_id === layer.chain_id ? 'pointed' : pointed?.diff_id === layer.diff_id ? 'twin' : ''}>
      <span class="number">${layer.index}</span><span class=${`letter f-${family(layer)}`} aria-hidden="true">${letterOf(layer)}</span>
      <a href=${app.router.href('image', image.ref, {at: layer.index, since: layer.index - 1 || null})} title=${shown(layer.instruction)}><code>${told(layer.instruction)}</code></a><span class="amount">${size(layer.stored)}</span></li>`)}</ol>`;
}
