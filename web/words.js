// Which words of a text differ from another's: the longest common subsequence of words. (Hunt and Szymanski 1977 is quicker; texts here are short.)

const WORDS_MAX = 2000;

function words(text) {
  const found = [];
  for (const match of text.matchAll(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu)) found.push({ text: match[0], from: match.index });
  return found.slice(0, WORDS_MAX);
}

// differences(a, b)(from, to): does the part of `b` from there to there have a word in it that `a` does not have in its place?
export function differences(a, b) {
  const x = words(a), y = words(b), width = y.length + 1, lengths = new Uint16Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--)
      lengths[i * width + j] = x[i].text === y[j].text ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
  const other = [];
  for (let i = 0, j = 0; j < y.length;) {
    if (i < x.length && x[i].text === y[j].text) { i++; j++; }
    else if (i < x.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
    else { if (y[j].text.trim()) other.push([y[j].from, y[j].from + y[j].text.length]); j++; }
  }
  if (y.length === WORDS_MAX) other.push([y.at(-1).from, Infinity]);
  return (from, to) => other.some(([begin, end]) => begin < to && end > from);
}
