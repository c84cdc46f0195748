/** A command line that cannot be split: `message` says why, as a clause. */
export class WordsError extends Error {
  override name = 'WordsError';
}

/** Signs that only a shell understands, where they stand as a word of their own or begin a redirection. */
const SHELL_SYNTAX = /^(?:&&|\|\||[|;&]|\d*>>?(?:&\d|\S.*)?|<.*)$/s;

/**
 * Splits a command line into words as a shell does, without running one: blanks part words, quotes and backslashes keep them
 * together, nothing is expanded. Throws WordsError for an open quote and for what only a shell could carry out.
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let bare = true;
  let at = 0;

  function end(): void {
    if (word === null) return;
    if (bare && SHELL_SYNTAX.test(word))
      throw new WordsError('a sign like && | ; < > needs a shell, and no shell runs this');
    if (bare && word.length > 1 && word.endsWith(';'))
      throw new WordsError('a sign like && | ; < > needs a shell, and no shell runs this');
    words.push(word);
    word = null;
    bare = true;
  }

  while (at < line.length) {
    const character = line[at]!;
    if (/\s/.test(character)) {
      end();
      at++;
    } else if (character === "'") {
      const close = line.indexOf("'", at + 1);
      if (close < 0) throw new WordsError("a ' is not closed");
      word = (word ?? '') + line.slice(at + 1, close);
      bare = false;
      at = close + 1;
    } else if (character === '"') {
      const quoted = doubleQuoted(line, at + 1);
      word = (word ?? '') + quoted.text;
      bare = false;
      at = quoted.end;
    } else if (character === '\\') {
      if (at + 1 >= line.length) throw new WordsError('it ends in a backslash');
      if (line[at + 1] !== '\n') word = (word ?? '') + line[at + 1];
      bare = false;
      at += 2;
    } else {
      word = (word ?? '') + character;
      at++;
    }
  }
  end();
  return words;
}

function doubleQuoted(line: string, start: number): { text: string; end: number } {
  let text = '';
  for (let at = start; at < line.length; at++) {
    const character = line[at]!;
    if (character === '"') return { text, end: at + 1 };
    if (character === '\\' && at + 1 < line.length && '"\\$`\n'.includes(line[at + 1]!)) {
      at++;
      if (line[at] !== '\n') text += line[at];
    } else {
      text += character;
    }
  }
  throw new WordsError('a " is not closed');
}
