import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { eventsPage } from './events-page.ts';

it('should be committed as docs/events.md (else run: node scripts/events.ts)', () => {
  const committed = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8');
  expect(committed).toBe(eventsPage());
});
