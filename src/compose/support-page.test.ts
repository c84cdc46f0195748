import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { supportPage } from './support-page.ts';

it('should be committed as docs/compose-support.md (else run: node scripts/compose-support.ts)', () => {
  const committed = readFileSync(new URL('../../docs/compose-support.md', import.meta.url), 'utf8');
  expect(committed).toBe(supportPage());
});
