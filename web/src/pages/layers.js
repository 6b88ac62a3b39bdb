/** The peeling page: how much of the stack one looks at, its layers to scale, the map of the bytes, the files. */

import {html, nothing} from 'lit-html';
import {map} from '../parts/map.js';
import {slider, span} from '../parts/slider.js';
import {stack} from '../parts/stack.js';
import {files} from '../parts/files.js';
import {opened} from './history.js';

/** @param {import('../app.js').App} app @param {Image} image @param {boolean} pictures */
export function layers(app, image, pictures) {
  if (!image.layers.length) return html`<div class="empty card"><p>This image has no layers.</p></div>`;
  const range = span(app, image);
  const history = app.router.get('file');
  return html`${slider(app, image, range)}
    <div class=${pictures ? 'peel' : ''}>
      ${pictures ? html`<section class="card side" aria-labelledby="pile-title">${stack(app, image, range)}</section>` : nothing}
      <div class="main">
        ${pictures ? html`<section class="card" aria-labelledby="map-title">${map(app, image, range)}</section>` : nothing}
        ${history ? opened(app, image, history) : nothing}
        <section class="card" aria-labelledby="files-title">${files(app, image, range)}</section>
      </div>
    </div>`;
}
