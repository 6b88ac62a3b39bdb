/** Shapes drawn as SVG, where each can have the focus. */

import {html, nothing, svg} from 'lit-html';
import {repeat} from 'lit-html/directives/repeat.js';
import {ofLayer} from '../colours.js';
import {shown, size} from '../words.js';

const LETTER = 6.7; // pixels that a letter takes, more or less

/** @typedef {import('../layout/map.js').Spot} Spot */
/** @typedef {import('../layout/map.js').Shape} Shape */
/** @typedef {import('../layout/map.js').Drawing} Drawing */
/**
 * @typedef {object} Manners
 * @property {(spot: Spot) => string} classed
 * @property {(spot: Spot) => string} label
 * @property {(spot: Spot) => boolean} faint what is as it was
 * @property {boolean} byLayer whether colours are those of layers
 * @property {boolean} hidden whether hidden bytes are part of the areas
 * @property {number} current the shape that has, or would get, the focus
 * @property {(n: number) => void} focus
 * @property {(n: number, way: 'in' | 'out' | 'next' | 'before') => number} move
 * @property {(spot: Spot) => void} enter
 * @property {() => void} up
 */

/** @param {Drawing} drawing @param {Manners} manners @param {(n: number) => void} go */
function keyed(drawing, manners, go) {
  /** @type {Record<string, 'in' | 'out' | 'next' | 'before'>} */
  const ways = drawing.kind === 'icicle' || drawing.kind === 'treemap'
    ? {ArrowDown: 'in', ArrowUp: 'out', ArrowRight: 'next', ArrowLeft: 'before'}
    : {ArrowDown: 'out', ArrowUp: 'in', ArrowRight: 'next', ArrowLeft: 'before'};
  return (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = ways[event.key];
    const {spot} = drawing.shapes[manners.current];
    if (way) go(manners.move(manners.current, way));
    else if (event.key === 'Enter' || event.key === ' ') manners.enter(spot);
    else if (event.key === 'Backspace') manners.up();
    else if (event.key === 'h' && spot.type !== 'other') manners.enter({...spot, children: []});
    else return;
    event.preventDefault();
  };
}

/** @param {Drawing} drawing @param {Manners} manners */
export function draw(drawing, manners) {
  const go = (/** @type {number} */ n) => {
    manners.focus(n);
    requestAnimationFrame(() => /** @type {SVGElement | null} */ (document.querySelector('.map [tabindex="0"]'))?.focus());
  };
  const {width, height, kind} = drawing;
  return html`<svg class=${`map ${kind}`} viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} role="tree" aria-label="Map of the bytes"
      @keydown=${keyed(drawing, manners, go)}>
    <defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2.2" height="6" class="ink"></rect></pattern></defs>
    ${repeat(drawing.shapes, (shape) => `${shape.spot.path} ${shape.spot.type}`, (shape, n) => svg`<g role="treeitem" aria-level=${shape.depth + 1}
      aria-label=${manners.label(shape.spot)} aria-selected=${n === manners.current ? 'true' : 'false'} tabindex=${n === manners.current ? 0 : -1}
      class=${`shape ${manners.classed(shape.spot)}${manners.faint(shape.spot) ? ' faint' : ''}`}
      @click=${() => manners.enter(shape.spot)} @pointerenter=${() => manners.focus(n)} @focus=${() => n !== manners.current && manners.focus(n)}>
      ${kind === 'sunburst' ? arc(drawing, shape, manners) : box(shape, manners)}</g>`)}
  </svg>`;
}

/** @param {Shape} shape @param {Manners} manners */
function box({spot, x0, y0, x1, y1, head}, manners) {
  const [width, height] = [Math.max(0, x1 - x0), Math.max(0, y1 - y0)];
  const share = hatched(spot, manners);
  const room = Math.floor((width - 12) / LETTER);
  const high = Math.min(head || height, height);
  const name = spot.type === 'other' ? `+${spot.folded}` : shown(spot.name || '/');
  const words = high >= 15 && room >= 2;
  return svg`<rect x=${x0} y=${y0} width=${width} height=${height} rx="2"></rect>
    ${share ? svg`<rect class="hatched" x=${x1 - width * share} y=${y0} width=${width * share} height=${height} rx="2"></rect>` : nothing}
    ${manners.byLayer && spot.mixed.length && !head ? strip(spot, x0, y1, width) : nothing}
    ${words ? svg`<svg x=${x0} y=${y0} width=${Math.max(0, width - 4)} height=${high}>
      <text class="name" x="7" y=${high >= 38 ? 18 : high / 2 + 4.5}>${cut(name, room)}${high < 38 && room > name.length + 9 ? svg`<tspan class="amount" dx="8">${size(spot.value)}</tspan>` : nothing}</text>
      ${high >= 38 && room + 1 >= size(spot.value).length ? svg`<text class="amount" x="7" y="34">${size(spot.value)}${manners.byLayer && spot.layer && room > 16 ? svg`<tspan class="of" dx="7">layer ${spot.layer}</tspan>` : nothing}</text>` : nothing}</svg>` : nothing}`;
}

/** What part of a shape is hidden bytes; of a directory only if all of it is, for its shapes tell the rest. @param {Spot} spot @param {Manners} manners */
function hatched(spot, manners) {
  if (!manners.hidden || !spot.value) return 0;
  const share = spot.op === 'D' ? 1 : spot.waste / spot.value;
  return share < 0.01 || (spot.children.length && share < 0.995) ? 0 : share;
}

/** A directory's layers as a stripe along its foot. @param {Spot} spot @param {number} x @param {number} foot @param {number} width */
function strip(spot, x, foot, width) {
  const whole = spot.mixed.reduce((sum, [, bytes]) => sum + bytes, 0);
  let from = x;
  return spot.mixed.map(([layer, bytes]) => {
    const wide = (width * bytes) / whole;
    const at = from;
    from += wide;
    return svg`<rect class=${`strip ${ofLayer(layer)}`} x=${at} y=${foot - 4.5} width=${Math.max(0, wide)} height="3.5"></rect>`;
  });
}

/** @param {string} text @param {number} room */
function cut(text, room) {
  const letters = [...text];
  return letters.length <= room ? text : `${letters.slice(0, Math.max(1, room - 1)).join('')}…`;
}

/** @param {Drawing} drawing @param {Shape} shape @param {Manners} manners */
function arc({width}, {spot, x0, y0, x1, y1, depth}, manners) {
  const middle = width / 2;
  const share = hatched(spot, manners);
  const name = spot.type === 'other' ? `+${spot.folded}` : shown(spot.name || '/');
  const turn = (x0 + x1) / 2;
  const radius = depth ? (y0 + y1) / 2 : 0;
  const long = (x1 - x0) * radius;
  // Outwards, or along the ring as far as a straight line stays within it.
  const outwards = depth ? (long > 13 ? y1 - y0 - 8 : 0) : 2 * y1 - 16;
  const along = depth ? Math.min(long - 10, Math.sqrt(4 * radius * Math.max(0, y1 - y0 - 14))) : 0;
  const room = Math.floor(Math.max(outwards, along) / LETTER);
  const angle = (turn * 180) / Math.PI;
  const placed = !depth ? `translate(${middle} ${middle})`
    : along > outwards ? `translate(${middle} ${middle}) rotate(${angle}) translate(0 ${-radius}) rotate(${turn > Math.PI / 2 && turn < 1.5 * Math.PI ? 180 : 0})`
      : `translate(${middle} ${middle}) rotate(${angle - 90}) translate(${radius} 0) rotate(${turn > Math.PI ? 180 : 0})`;
  return svg`<path d=${ring(middle, x0, y0, x1, y1)}></path>
    ${share ? svg`<path class="hatched" d=${ring(middle, x1 - (x1 - x0) * share, y0, x1, y1)}></path>` : nothing}
    ${room >= 3 ? svg`<text class="name" text-anchor="middle" dy="4" transform=${placed}>${cut(name, room)}</text>` : nothing}`;
}

/** A piece of a ring as a path. @param {number} middle @param {number} from radians from the top, clockwise @param {number} inner @param {number} to @param {number} outer */
function ring(middle, from, inner, to, outer) {
  const point = (/** @type {number} */ angle, /** @type {number} */ radius) =>
    `${(middle + radius * Math.sin(angle)).toFixed(2)} ${(middle - radius * Math.cos(angle)).toFixed(2)}`;
  if (to - from > 2 * Math.PI - 1e-6) {
    const half = from + Math.PI;
    const circle = (/** @type {number} */ radius, /** @type {number} */ sweep) =>
      `M${point(from, radius)}A${radius} ${radius} 0 1 ${sweep} ${point(half, radius)}A${radius} ${radius} 0 1 ${sweep} ${point(from, radius)}Z`;
    return circle(outer, 1) + (inner > 0 ? circle(inner, 0) : '');
  }
  const large = to - from > Math.PI ? 1 : 0;
  const back = inner > 0 ? `L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(from, inner)}` : `L${middle} ${middle}`;
  return `M${point(from, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}${back}Z`;
}
