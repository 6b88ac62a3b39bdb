/** One content, by its diff ID: which images have it, and where in their stacks. */

import {html} from 'lit-html';
import {awaited} from '../parts/trouble.js';
import {counted, short, shown, size} from '../words.js';

/** @param {import('../app.js').App} app */
export function layer(app) {
  const diffId = app.router.route.ref;
  const answer = app.asked.get(`layer ${diffId}`, () => app.source.layerImages(diffId));
  return {title: `Layer ${short(diffId)} · veneer`, body: awaited(answer, (found) => html`
    <div class="hero"><h1>Layer <code>${short(found.diff_id)}</code></h1><p class="dim under wrapany"><code>${shown(found.diff_id)}</code></p>
      <dl class="figures"><div><dt>stored</dt><dd>${size(found.stored)}</dd></div><div><dt>entries</dt><dd>${found.entries}</dd></div>
        ${found.blobs.slice(0, 2).map((blob) => html`<div><dt>to pull</dt><dd title=${blob.media_type}>${size(blob.size)}</dd></div>`)}</dl></div>
    <section class="card" aria-labelledby="users-title"><h2 id="users-title">In ${counted(found.images.length, 'place')}</h2>
      <table><thead><tr><th scope="col">Image</th><th scope="col" class="n">Layer</th><th scope="col">Chain ID</th></tr></thead>
      <tbody>${found.images.map((each) => html`<tr><th scope="row"><a href=${app.router.href('image', each.ref, {at: each.layer, since: each.layer - 1 || null})}><bdi>${shown(each.ref)}</bdi></a></th>
        <td class="n">${each.layer}</td><td><code>${short(each.chain_id)}</code></td></tr>`)}</tbody></table></section>`)};
}
