import { EVENT_RETENTION_MS } from '../../realtime/event-follower.ts';
import { ALL_EVENT_TYPES, EVENT_TYPES, type EventDescription } from '../../realtime/event-types.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { leastRoleFor } from './types.ts';

/** docs/events.md: every type of event, as a page. */
export function eventsPage(): string {
  const subjects = [...new Set(ALL_EVENT_TYPES.map((type) => EVENT_TYPES[type].subject))];
  return `${[...INTRODUCTION, ...subjects.flatMap(section)].join('\n')}\n`;
}

const INTRODUCTION = [
  '# Events',
  '',
  'Generated from `src/realtime/event-types.ts` by `node scripts/events.ts`; a test keeps it current.',
  '',
  'The subscription `events` tells everything that happens in an organization, in the order in which it was stored. [The API guide](api.md#the-events-feed)',
  'says how to follow it without a gap.',
  '',
  '- `type` is one of those below. `types` of the subscription takes them, or all of a subject: `"deployment.*"`.',
  '- `subject` is the object as it is now; null where it is gone, or where the viewer may not see it.',
  '- `actor` is the user who did it, or the agent or workflow that did it in the name of one; null where WindFlow did, or where they are gone.',
  '- `data` is an object with the fields named here. Fields may be added, and those that may be absent are null or missing. IDs are global. Values of',
  '  variables are never in it, and secrets are masked in every `reason`.',
  `- Events are kept for ${EVENT_RETENTION_MS / DAY_MS} days. They outlive what they speak of: a deleted stack leaves its events.`,
];

function section(subject: EventDescription['subject']): string[] {
  const types = ALL_EVENT_TYPES.filter((type) => EVENT_TYPES[type].subject === subject);
  const roles = [...new Set(types.map(leastRoleFor))];
  const readers = roles.map((role) => (role === 'VIEWER' ? 'every member' : `members with the role ${role} or above`));
  return [
    '',
    `## ${subject}`,
    '',
    `Told to ${readers.join(', ')}.`,
    '',
    '| type | what happened | data |',
    '|---|---|---|',
    ...types.map((type) => `| \`${type}\` | ${EVENT_TYPES[type].description} | ${dataOf(EVENT_TYPES[type])} |`),
  ];
}

function dataOf({ data }: EventDescription): string {
  return Object.entries(data)
    .map(([name, { shape }]) => `\`${name}\`: ${shape}`)
    .join('<br>');
}
