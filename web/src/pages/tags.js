/** The tags of an image's repositories, those of one image together. */

import {html, nothing} from 'lit-html';
import {awaited} from '../parts/trouble.js';
import {ago, pull, short, shown, size} from '../words.js';

/** @param {import('../app.js').App} app @param {Image} image */
export function tags(app, image) {
  const answer = app.asked.get(`tags ${image.ref}`, () => app.source.tags(image.ref));
  return awaited(answer, ({groups}) => {
    if (!groups.length) return html`<div class="card empty"><p>This image has no tags here.</p></div>`;
    const repositories = [...new Set(groups.map((group) => group.repository))];
    return repositories.map((repository) => html`<section class="card" aria-label=${`Tags of ${shown(repository)}`}><h2><bdi>${shown(repository)}</bdi></h2>
      <ul class="groups">${groups.filter((group) => group.repository === repository).map((group) => html`<li class=${group.current ? 'current' : ''} aria-current=${group.current ? 'true' : nothing}>
        <div class="names">${group.tags.map((tag) => html`<a class="tag" href=${app.router.href('image', `${repository}:${tag}`)}><bdi>${shown(tag)}</bdi></a> `)}${group.current ? html`<span class="dim small">this image</span>` : nothing}</div>
        <div class="dim small"><code>${short(group.id)}</code> · ${ago(group.created)} · ${group.layers} layers · ${size(group.stored)} stored · ${pull(group)} to pull
        ${group.current || app.source.embedded ? nothing : html` · <a href=${app.router.href('compare', '', {images: `${image.ref},${repository}:${group.tags[0]}`})}>Compare</a>`}</div></li>`)}</ul></section>`);
  });
}
