import { setImmediate as breathe } from 'node:timers/promises';
import type { Message, Model } from './model.ts';

/** Needs no provider: answers with what the user said last, word by word. A token of its is a word. */
export const echoModel: Model = {
  async takeTurn({ instructions, messages }, { signal, onText }) {
    const said = messages.findLast((message) => message.role === 'user')?.text ?? '';
    const words = said.match(/\s*\S+(\s+$)?/g) ?? [];
    for (const word of words) {
      signal.throwIfAborted();
      await onText(word);
      await breathe();
    }
    const inputTokens = [instructions ?? '', ...messages.map(textOf)].reduce((sum, text) => sum + countWords(text), 0);
    return { text: words.join(''), toolCalls: [], usage: { inputTokens, outputTokens: words.length } };
  },
};

function textOf(message: Message): string {
  return message.role === 'tool' ? JSON.stringify(message.output) : message.text;
}

function countWords(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}
