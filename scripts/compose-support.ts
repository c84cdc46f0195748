import { writeFileSync } from 'node:fs';
import { supportPage } from '../src/compose/support-page.ts';

writeFileSync(new URL('../docs/compose-support.md', import.meta.url), supportPage());
