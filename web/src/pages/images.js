/** The first page: what images there are, found by name, ID or label, and chosen for comparison. */

import {html, nothing} from 'lit-html';
import {awaited} from '../parts/trouble.js';
import {ago, counted, pull, short, shown, size} from '../words.js';

const SORTS = {name: 'Name', created: 'Created', size: 'Stored', layers: 'Layers'};

/** @param {Listed[]} all @param {string} by */
function sorted(all, by) {
  const rows = [...all];
  if (by === 'name') rows.sort((a, b) => (a.ref < b.ref ? -1 : 1));
  if (by === 'created') rows.sort((a, b) => ((a.created ?? '') < (b.created ?? '') ? 1 : -1));
  if (by === 'size') rows.sort((a, b) => b.stored - a.stored);
  if (by === 'layers') rows.sort((a, b) => b.layers - a.layers);
  return rows;
}

/** @param {import('../app.js').App} app */
export function images(app) {
  const {router, source} = app;
  const q = router.get('q');
  const by = router.choice('sort', ['name', 'created', 'size', 'layers']);
  const answer = app.asked.latest('images', `images ${q}`, () => source.images(q));
  const chosen = app.memory('chosen', () => /** @type {Set<string>} */ (new Set()));
  const body = html`
    <div class="row head">
      <div><h1>Images</h1><p class="dim">${answer.value ? summary(answer.value, q) : ' '}</p></div>
      <span class="grow"></span>
      ${source.embedded ? nothing : html`<label class="search"><span class="sr">Filter images</span>
        <input type="search" placeholder="Filter by name, ID or label" .value=${q} @input=${(/** @type {any} */ event) => router.set({q: event.target.value})}></label>`}
    </div>
    ${chosen.size ? html`<div class="bar row" role="region" aria-label="Chosen for comparison"><span>${counted(chosen.size, 'image')} chosen</span>
      <a class="button" href=${router.href('compare', '', {images: [...chosen].join(',')})}>Compare</a>
      <button class="quiet" @click=${() => { chosen.clear(); app.redraw(); }}>None</button></div>` : nothing}
    ${app.verdicts.map((verdict) => html`<div class="card rules">${verdict}</div>`)}
    ${awaited(answer, (all) => (all.length ? table(app, sorted(all, by), by, chosen) : nothingThere(q)))}
    ${containers(app)}`;
  return {title: 'Images · veneer', body};
}

/** @param {Listed[]} all @param {string} q */
function summary(all, q) {
  const stored = all.reduce((sum, each) => sum + each.stored, 0);
  return html`${counted(all.length, 'image')}${q ? ` with “${shown(q)}”` : ''}, ${size(stored)} if nothing were shared`;
}

/** What containers wrote is one more layer of their images. @param {import('../app.js').App} app */
function containers(app) {
  const all = app.asked.get('containers', () => app.source.containers()).value ?? [];
  if (!all.length) return nothing;
  return html`<section class="card" aria-labelledby="containers-title"><h2 id="containers-title">Containers</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="All containers"><table class="images"><thead><tr><th scope="col">Name</th><th scope="col" class="minor">Container ID</th><th scope="col">Image</th><th scope="col">Created</th></tr></thead>
    <tbody>${all.map((each) => html`<tr><th scope="row"><a class="name" href=${app.router.href('image', each.ref)}><bdi>${shown(each.name)}</bdi></a></th>
      <td class="minor"><code>${short(each.id)}</code></td><td><bdi>${shown(each.image)}</bdi></td><td title=${each.created}>${ago(each.created)}</td></tr>`)}</tbody></table></div></section>`;
}

/** @param {string} q */
function nothingThere(q) {
  return html`<div class="empty card">${q ? html`<p>No image has “${shown(q)}” in its name, ID or labels.</p>`
    : html`<p>There are no images yet.</p><p class="dim"><code>veneer pull</code>, <code>veneer load</code> or <code>veneer build</code> bring one.</p>`}</div>`;
}

/** @param {import('../app.js').App} app @param {Listed[]} rows @param {string} by @param {Set<string>} chosen */
function table(app, rows, by, chosen) {
  const most = Math.max(1, ...rows.map((each) => each.stored));
  /** @param {keyof typeof SORTS} key @param {string} kind */
  const head = (key, kind = '') => html`<th scope="col" class=${kind} aria-sort=${by === key ? (key === 'name' ? 'ascending' : 'descending') : nothing}>
    <button class="sort" @click=${() => app.router.set({sort: key === 'name' ? null : key})}>${SORTS[key]}${by === key ? (key === 'name' ? ' ▴' : ' ▾') : ''}</button></th>`;
  return html`<div class="card scroll" tabindex="0" role="region" aria-label="Images"><table class="images">
    <thead><tr><th scope="col"><span class="sr">Compare</span></th>${head('name')}<th scope="col" class="minor">Image ID</th><th scope="col" class="minor">Platform</th>${head('created', 'minor')}
      ${head('layers', 'n minor')}${head('size', 'n')}<th scope="col" class="n">To pull</th></tr></thead>
    <tbody>${rows.map((each) => html`<tr>
      <td><input type="checkbox" aria-label=${`Choose ${shown(each.ref)}`} .checked=${chosen.has(each.ref)} @change=${() => {
        if (!chosen.delete(each.ref)) chosen.add(each.ref);
        app.redraw();
      }}></td>
      <th scope="row"><a class="name" href=${app.router.href('image', each.ref)}><bdi>${shown(each.ref)}</bdi></a>
        ${each.tags.filter((tag) => tag !== each.ref).slice(0, 4).map((tag) => html` <span class="tag"><bdi>${shown(tag)}</bdi></span>`)}</th>
      <td class="minor"><code>${short(each.id)}</code></td><td class="minor">${shown(each.platform)}</td><td class="minor" title=${each.created ?? ''}>${ago(each.created)}</td>
      <td class="n minor">${each.layers}</td>
      <td class="n"><span class="meter" .style=${`--share:${(100 * each.stored) / most}%`}>${size(each.stored)}</span></td>
      <td class="n">${pull(each)}</td></tr>`)}</tbody></table></div>`;
}
