/** What is worth knowing of an image's files by their names and modes alone. */

import {html, nothing} from 'lit-html';
import {ofLayer} from '../colours.js';
import {awaited} from '../parts/trouble.js';
import {counted, shown, size} from '../words.js';

/** @param {import('../app.js').App} app @param {Image} image */
export function findings(app, image) {
  const pages = app.memory(`findings ${image.ref}`, () => ({afters: ['']}));
  const parts = pages.afters.map((after) => app.asked.get(`findings ${image.ref} ${after}`, () => app.source.findings(image.ref, after)));
  const last = parts[parts.length - 1].value;
  return html`<section class="card" aria-labelledby="findings-title">
    <h2 id="findings-title">${parts[0].value ? counted(parts[0].value.total, 'file to look at', 'files to look at') : 'Files to look at'}</h2>
    <p class="dim">By names and modes alone: what runs with another's rights, what everybody may write, what looks like a secret, what is left over.</p>
    ${awaited(parts[0], (first) => (first.rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Findings"><table>
      <thead><tr><th scope="col">Concern</th><th scope="col">Path</th><th scope="col" class="n">Layer</th><th scope="col" class="n">Bytes</th><th scope="col">Detail</th></tr></thead>
      <tbody>${parts.flatMap((part) => part.value?.rows ?? []).map((row) => html`<tr><td><span class="chip">${shown(row.concern)}</span></td>
        <th scope="row" class="wrapany"><a href=${app.router.href('history', '', {image: image.ref, path: row.path})}><bdi>${shown(row.path)}</bdi></a></th>
        <td class="n"><span class=${`swatch ${ofLayer(row.layer)}`} aria-hidden="true"></span> ${row.layer}</td><td class="n">${size(row.bytes)}</td><td class="dim">${shown(row.detail)}</td></tr>`)}</tbody></table></div>`
      : html`<p class="empty dim">There is nothing of the kind.</p>`))}
    ${last?.next ? html`<button class="button plain" @click=${() => { pages.afters.push(/** @type {string} */ (last.next)); app.redraw(); }}>More</button>` : nothing}
  </section>`;
}
