/** One image's layers one below the other, as high as they are heavy. Pure. */

/** Heights in pixels: each has room for its words, what is left is shared out by bytes.
 * @param {number[]} bytes @param {number} room @param {number} least */
export function pile(bytes, room, least = 30) {
  const total = bytes.reduce((sum, each) => sum + each, 0);
  const spare = Math.max(0, room - least * bytes.length);
  return bytes.map((each) => least + (total ? (spare * each) / total : 0));
}
