/** What is stored and not visible: by path, by the layer that made it so, by cause; and what squashing would save. */

import {html, nothing} from 'lit-html';
import {choices} from '../parts/map.js';
import {awaited} from '../parts/trouble.js';
import {counted, listed, percent, shown, size, told} from '../words.js';

/** @param {import('../app.js').App} app @param {Image} image */
export function waste(app, image) {
  const by = app.router.choice('by', ['path', 'layer', 'cause']);
  const answer = app.asked.latest(`waste ${image.ref}`, `waste ${image.ref} ${by}`, () => app.source.waste(image.ref, by));
  return html`<section class="card" aria-labelledby="waste-title">
      <div class="row wrapping"><h2 id="waste-title">${image.wasted ? html`${size(image.wasted)} wasted, ${percent(image.wasted, image.stored)} of what is stored` : 'Nothing is wasted'}</h2>
        <span class="grow"></span>${choices(app, 'by', ['path', 'layer', 'cause'], by, 'By', {word: 'by'})}</div>
      ${awaited(answer, (found) => (found.rows.length ? ledger(app, image, found) : html`<p class="empty dim">Every byte that is stored is visible.</p>`))}
    </section>
    ${image.layers.length > 1 ? squash(app, image) : nothing}
    ${pulling(app, image)}`;
}

/** What is left to pull for a host that has another image. @param {import('../app.js').App} app @param {Image} image */
function pulling(app, image) {
  const offered = (app.asked.latest('images', 'images ', () => app.source.images('')).value ?? []).map((each) => each.ref).filter((ref) => ref !== image.ref && !image.tags.includes(ref));
  if (!offered.length) return nothing;
  const have = offered.includes(app.router.get('have')) ? app.router.get('have') : image.base?.here && offered.includes(image.base.here) ? image.base.here : offered[0];
  const answer = app.asked.latest(`having ${image.ref}`, `having ${image.ref} ${have}`, () => app.source.having(image.ref, have));
  return html`<section class="card" aria-labelledby="pulling-title"><h2 id="pulling-title">What if a host has another image?</h2>
    <div class="row wrapping"><label>it has <select @change=${(/** @type {any} */ event) => app.router.set({have: event.target.value})}>
      ${offered.map((ref) => html`<option value=${ref} ?selected=${ref === have}>${shown(ref)}</option>`)}</select></label></div>
    ${awaited(answer, (found) => html`<p class="verdict">With <bdi>${shown(have)}</bdi> there it pulls <b>${size(found.pull)}</b> instead of ${size(found.pull_now)}.</p>`)}</section>`;
}

/** @param {import('../app.js').App} app @param {Image} image @param {Wasted} found */
function ledger(app, image, found) {
  const most = Math.max(1, ...found.rows.map((row) => row.bytes));
  const key = (/** @type {WasteRow} */ row) => {
    if (found.by === 'path') return html`<a href=${app.router.here({tab: null, file: String(row.key)})}><bdi>${shown(String(row.key))}</bdi></a>`;
    if (found.by === 'layer') {
      const layer = image.layers[Number(row.key) - 1];
      return html`<span class=${`swatch c${(Number(row.key) - 1) % 8}`} aria-hidden="true"></span> ${row.key} <code>${layer ? told(layer.instruction) : ''}</code>`;
    }
    return shown(String(row.key));
  };
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Waste"><table class="ledger">
    <thead><tr><th scope="col">${found.by === 'path' ? 'Path' : found.by === 'layer' ? 'Made by layer' : 'Cause'}</th><th scope="col" class="n">Bytes</th><th scope="col" class="n">Files</th>
      <th scope="col">Held in</th>${found.by === 'layer' ? nothing : html`<th scope="col">Made by</th>`}${found.by === 'cause' ? nothing : html`<th scope="col">Cause</th>`}<th scope="col">What helps</th></tr></thead>
    <tbody>${found.rows.map((row) => html`<tr><th scope="row" class="wrapany">${key(row)}</th><td class="n"><span class="meter bad" .style=${`--share:${(100 * row.bytes) / most}%`}>${size(row.bytes)}</span></td>
      <td class="n">${row.files}</td><td>${listed(row.held_in)}</td>${found.by === 'layer' ? nothing : html`<td>${listed(row.made_by)}</td>`}
      ${found.by === 'cause' ? nothing : html`<td>${row.causes.map(shown).join(', ')}</td>`}<td class="dim">${shown(row.remedy)}</td></tr>`)}</tbody></table></div>
    ${found.next ? html`<p class="dim">The ${counted(found.rows.length, 'largest', 'largest')} of more.</p>` : nothing}`;
}

/** @param {import('../app.js').App} app @param {Image} image */
function squash(app, image) {
  const most = image.layers.length;
  const base = Math.min(image.base?.layers ?? 0, most - 2);
  const from = app.router.number('from', base + 1, 1, most);
  const to = app.router.number('to', most, from, most);
  const answer = app.asked.latest(`squash ${image.ref}`, `squash ${image.ref} ${from}-${to}`, () => app.source.whatif(image.ref, `${from}-${to}`));
  const pick = (/** @type {string} */ name, /** @type {number} */ value, /** @type {number} */ least) => html`<label>${name} <select @change=${(/** @type {any} */ event) => app.router.set({[name]: event.target.value})}>
    ${image.layers.map((layer, n) => (n + 1 < least ? nothing : html`<option value=${n + 1} ?selected=${n + 1 === value}>${n + 1} ${told(layer.instruction).slice(0, 50)}</option>`))}</select></label>`;
  return html`<section class="card" aria-labelledby="squash-title"><h2 id="squash-title">What if layers were one?</h2>
    <div class="row wrapping">${pick('from', from, 1)}${pick('to', to, from)}</div>
    ${awaited(answer, (found) => html`<p class="verdict">Layers ${from} to ${to} as one: <b>${size(found.stored)}</b> instead of ${size(found.stored_now)}, ${found.saved ? html`<b class="good">${size(found.saved)} less</b>` : 'nothing saved'}.</p>`)}
    ${app.source.embedded ? nothing : html`<p class="dim small">Done by <code>veneer image squash --from ${from} --to ${to} ${shown(image.ref)}</code></p>`}</section>`;
}
