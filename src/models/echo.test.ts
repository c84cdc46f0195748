import { expect, it } from 'vitest';
import { echoModel } from './echo.ts';

it('should say back what it was told last, word by word', async () => {
  const heard: string[] = [];
  const messages = [
    { role: 'user' as const, text: 'one' },
    { role: 'assistant' as const, text: 'one', toolCalls: [] },
    { role: 'user' as const, text: '  two words\nand more ' },
  ];
  const options = { signal: new AbortController().signal, onText: (text: string) => heard.push(text) };
  const result = await echoModel.takeTurn({ instructions: 'Be kind.', messages, tools: [] }, options);
  expect(heard).toEqual(['  two', ' words', '\nand', ' more ']);
  expect(result).toEqual({ text: '  two words\nand more ', toolCalls: [], usage: { inputTokens: 8, outputTokens: 4 } });
});

it('should stop where it is cancelled', async () => {
  const cancel = new AbortController();
  const reason = new Error('cancelled');
  const options = { signal: cancel.signal, onText: () => cancel.abort(reason) };
  const turn = { instructions: null, messages: [{ role: 'user' as const, text: 'one two' }], tools: [] };
  await expect(echoModel.takeTurn(turn, options)).rejects.toBe(reason);
});
