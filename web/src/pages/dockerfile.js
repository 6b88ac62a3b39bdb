/** The Dockerfile again, as far as the history tells it. */

import {html, nothing} from 'lit-html';
import {ofLayer} from '../colours.js';
import {awaited} from '../parts/trouble.js';
import {counted, shown, size} from '../words.js';
import {copy} from '../parts/copy.js';

/** @param {import('../app.js').App} app @param {Image} image */
export function dockerfile(app, image) {
  const answer = app.asked.get(`dockerfile ${image.ref}`, () => app.source.dockerfile(image.ref));
  return html`<section class="card" aria-labelledby="dockerfile-title">${awaited(answer, (found) => html`
    <div class="row"><h2 id="dockerfile-title">Dockerfile</h2><span class="grow"></span>${copy(app, found.text, 'Copy the Dockerfile')}</div>
    ${found.notes.length ? html`<details open><summary>Notes</summary><ul>${found.notes.map((note) => html`<li>${shown(note)}</li>`)}</ul></details>` : nothing}
    <ol class="source">${found.base ? html`<li><span class="swatch none" aria-hidden="true"></span><code><b>FROM</b> <bdi>${shown(found.base)}</bdi></code><span class="dim small">${image.base ? counted(image.base.layers, 'layer') : nothing}</span></li>` : nothing}${found.lines.map((line) => {
      const layer = line.layer ? image.layers[line.layer - 1] : null;
      return html`<li><span class=${`swatch ${line.layer ? ofLayer(line.layer) : 'none'}`} aria-hidden="true"></span>
        <code>${line.comment.map((comment) => html`<span class="comment"># ${shown(comment)}
</span>`)}${line.text ? html`<b>${shown(line.keyword)}</b>${rest(line)}` : nothing}</code>
        <span class="dim small">${layer ? html`layer ${layer.index}, ${size(layer.stored)}` : nothing}</span></li>`;
    })}</ol>`)}</section>`;
}

/** @param {{keyword: string, text: string}} line */
function rest({keyword, text}) {
  const after = text.startsWith(keyword) ? text.slice(keyword.length) : ` ${text}`;
  return after.split('\n').map((part, n) => html`${n ? '\n' : ''}${shown(part)}`);
}
