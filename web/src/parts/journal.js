/** The journal: all that was done up to the box one points at, or of the image one has locked. */

import {html, nothing} from 'lit-html';
import {walk} from '../layout/wall.js';
import {called, family, letterOf, shown, size, told} from '../words.js';

/** @param {import('../app.js').App} app @param {Comparison} found @param {import('./grid.js').State} state */
export function journal(app, found, state) {
  const lock = app.router.get('lock');
  const locked = found.images.find((image) => image.ref === lock);
  const pointed = state.joint;
  const image = locked ?? (state.image !== null ? found.images[state.image] : pointed ? found.images.find((each) => each.layers[pointed.index - 1]?.chain_id === pointed.chain_id) : undefined) ?? found.images[0];
  if (!image) return nothing;
  const until = !locked && pointed && image.layers[pointed.index - 1]?.chain_id === pointed.chain_id ? pointed.index : image.layers.length;
  const rows = image.layers.slice(0, until);
  const path = app.router.get('path');
  /** @type {Map<string, number | null>} */
  const inside = new Map();
  if (path) walk(found.trie, (joint) => inside.set(joint.chain_id, joint.inside ?? null));
  const amount = (/** @type {Laid} */ layer) => (path ? (inside.get(layer.chain_id) ?? null) : layer.stored);
  const total = rows.reduce((sum, layer) => sum + (amount(layer) ?? 0), 0);
  return html`<div class="row"><h2>Journal</h2><span class="grow"></span>${locked ? html`<button class="quiet" @click=${() => app.router.set({lock: null})}>Unlock</button>` : nothing}</div>
    <p class="dim small"><bdi>${shown(called(image.ref).name)}</bdi>${until < image.layers.length ? ` up to layer ${until}` : ''}${path ? html` at <bdi>${shown(path)}</bdi>` : nothing}: ${size(total)}</p>
    <ol class="journal">${rows.map((layer) => html`<li class=${`${pointed?.chain_id === layer.chain_id ? 'pointed' : pointed?.diff_id === layer.diff_id ? 'twin' : ''}${amount(layer) === null ? ' out' : ''}`}>
      <span class="number">${layer.index}</span><span class=${`letter f-${family(layer)}`} aria-hidden="true">${letterOf(layer)}</span>
      <a href=${app.router.href('image', image.ref, {at: layer.index, since: layer.index - 1 || null})} title=${shown(layer.instruction)}><code>${told(layer.instruction)}</code></a><span class="amount">${size(amount(layer))}</span></li>`)}</ol>`;
}
