/** An image's layers as a pile to scale; a click looks at one alone, another click at all of them again. */

import {html, nothing} from 'lit-html';
import {pile} from '../layout/pile.js';
import {counted, shown, pull, size, told} from '../words.js';
import {choose} from './slider.js';

/** @param {import('../app.js').App} app @param {Image} image @param {import('./slider.js').Span} range */
export function stack(app, image, range) {
  const heights = pile(image.layers.map((layer) => layer.stored), 640, 34);
  return html`<div class="row"><h2 id="pile-title">Layers</h2><span class="grow"></span><span class="dim small">heights are bytes</span></div>
    <ol class="pile">${image.layers.map((layer, n) => {
      const number = n + 1;
      const inside = range.since < number && number <= range.at;
      const alone = range.at === number && range.since === number - 1;
      return html`<li><button class=${`slab c${n % 8}${inside ? '' : ' out'}${heights[n].scaled ? '' : ' least'}${heights[n].height > 80 ? ' high' : ''}`} .style=${`--lines:${Math.floor((heights[n].height - 40) / 19)};min-height:${heights[n].height}px`} aria-pressed=${inside ? 'true' : 'false'}
        aria-label=${`Layer ${number}, ${told(layer.instruction)}, ${size(layer.stored)}${layer.waste_made ? `, made ${size(layer.waste_made)} of waste` : ''}`}
        title=${shown(layer.instruction)} @click=${() => choose(app, image, alone ? {since: 0, at: image.layers.length} : {since: number - 1, at: number})}>
        <span class="number">${number}</span><code>${told(layer.instruction)}</code><span class="amount">${size(layer.stored)}</span>
        ${layer.waste_made ? html`<span class="made">hid ${size(layer.waste_made)} below</span>` : nothing}
      </button></li>`;
    })}</ol>
    ${unplaced(image)}
    ${detail(app, image, range)}`;
}

/** Rows of which nobody knows the layers. @param {Image} image */
function unplaced(image) {
  if (!image.unplaced.length) return nothing;
  return html`<details><summary>The history has fewer rows than there are layers, and does not tell which made which</summary>
    <ul class="plain">${image.unplaced.map((each) => html`<li><code>${told(each.shown)}</code></li>`)}</ul></details>`;
}

/** @param {import('../app.js').App} app @param {Image} image @param {import('./slider.js').Span} range */
function detail(app, image, range) {
  const layer = image.layers[range.at - 1];
  const {n} = layer;
  return html`<div class="detail">
    <h3>Layer ${range.at}</h3>
    <pre class="wrap"><code>${shown(layer.instruction).replaceAll('\\n', '\n')}</code></pre>
    ${layer.empty_before.length ? html`<details><summary>${counted(layer.empty_before.length, 'step')} before without files</summary>
      <ul class="plain">${layer.empty_before.map((each) => html`<li><code>${told(each.shown)}</code></li>`)}</ul></details>` : nothing}
    <dl class="pairs">
      <dt>stored</dt><dd>${size(layer.stored)}</dd>
      <dt>adds to what is visible</dt><dd>${layer.net > 0 ? '+' : ''}${size(layer.net)}</dd>
      <dt>visible with it</dt><dd>${size(layer.cumulative)}</dd>
      <dt>to pull</dt><dd>${pull(layer)}</dd>
      ${layer.waste_held ? html`<dt>of it wasted later</dt><dd>${size(layer.waste_held)}</dd>` : nothing}
      <dt>paths</dt><dd class="states">${/** @type {const} */ (['A', 'M', 'P', 'D', 'O']).filter((op) => n[op]).map((op) => html`<span><b class=${`op ${op}`}>${op}</b> ${n[op]}</span> `)}</dd>
      <dt>content</dt><dd><a href=${app.router.href('layer', layer.diff_id)}><code>${layer.diff_id.slice(7, 19)}</code></a></dd>
      ${layer.same_chain.base ? html`<dt>also in</dt><dd><a href=${app.router.href('image', layer.same_chain.base)}><bdi>${shown(layer.same_chain.base)}</bdi></a>
        ${layer.same_chain.others ? `and ${layer.same_chain.others} more` : nothing}</dd>` : nothing}
      ${layer.same_diff.length ? html`<dt>same content in</dt><dd>${layer.same_diff.slice(0, 5).map((ref) => html`<a href=${app.router.href('image', ref)}><bdi>${shown(ref)}</bdi></a> `)}</dd>` : nothing}
    </dl></div>`;
}
