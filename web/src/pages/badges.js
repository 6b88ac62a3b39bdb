/** Each badge of an image, and how to put it into a page. */

import {html} from 'lit-html';
import {choices} from '../parts/map.js';
import {copy} from '../parts/copy.js';
import {awaited} from '../parts/trouble.js';
import {shown} from '../words.js';

/** How four languages show a picture that leads somewhere. @param {string} form @param {string} picture @param {string} page @param {string} alt */
export function snippet(form, picture, page, alt) {
  const plain = alt.replace(/[\][<>"'`|\\]/g, '');
  if (form === 'HTML') return `<a href="${page}"><img src="${picture}" alt="${plain}"></a>`;
  if (form === 'AsciiDoc') return `image:${picture}["${plain}", link="${page}"]`;
  if (form === 'reST') return `.. image:: ${picture}\n   :target: ${page}\n   :alt: ${plain}`;
  return `[![${plain}](${picture})](${page})`;
}

/** @param {import('../app.js').App} app @param {Image} image */
export function badges(app, image) {
  const form = app.router.choice('form', ['Markdown', 'HTML', 'AsciiDoc', 'reST']);
  const style = app.router.choice('style', ['flat', 'flat-square']);
  const answer = app.asked.get('badges', () => app.source.kinds());
  const page = `${location.origin}${app.router.href('image', image.ref)}`;
  return html`<section class="card" aria-labelledby="badges-title">
    <div class="row wrapping"><h2 id="badges-title">Badges</h2><span class="grow"></span>${choices(app, 'style', ['flat', 'flat-square'], style, 'Style')}
      ${choices(app, 'form', ['Markdown', 'HTML', 'AsciiDoc', 'reST'], form, 'Language')}</div>
    ${awaited(answer, ({kinds}) => html`<ul class="badges">${kinds.map((kind) => {
      const alt = `${kind} of ${shown(image.ref)}`;
      const picture = app.source.badge(kind, image.ref, 'svg', style === 'flat' ? undefined : style);
      const text = snippet(form, `${location.origin}${picture}`, page, alt);
      return html`<li><div class="row"><h3>${kind}</h3><img src=${picture} alt=${alt} height="20"><span class="grow"></span>
        <a href=${app.source.badge(kind, image.ref, 'json')}>JSON</a>${copy(app, text, `Copy the ${kind} badge`)}</div><pre class="wrap"><code>${text}</code></pre></li>`;
    })}</ul>`)}
    <p class="dim small">Somebody else's page can show them while this server can be reached from there; <code>veneer badge</code> writes them as files.</p></section>`;
}
