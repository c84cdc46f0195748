import { styleText } from 'node:util';
import type { DeploymentStateFragment, FollowLogSubscription } from '../../schema/generated/graphql.ts';

type LogLine = NonNullable<FollowLogSubscription['deploymentLogs']>['lines'][number];

const SERVICE_WIDTH = 6;
const STATUS_COLOURS = { RUNNING: 'green', FAILED: 'red', DEGRADED: 'yellow', STOPPED: 'gray' } as const;

export function heading(text: string): void {
  console.log(`\n${styleText('bold', `── ${text}`)}`);
}

export function say(text: string): void {
  console.log(`   ${text}`);
}

/** One status of a deployment, with its reason and its services. */
export function showStatus({ number, status, statusReason, services }: DeploymentStateFragment): void {
  const colour = STATUS_COLOURS[status as keyof typeof STATUS_COLOURS] ?? 'cyan';
  const states = services.map(({ name, state }) => `${name} ${state.toLowerCase()}`).join(', ');
  const details = [states, statusReason].filter(Boolean).join(' · ');
  console.log(`${styleText('bold', `#${number}`)} ${styleText(colour, status)}${details && ` (${details})`}`);
}

/** One line of a deployment's log; what the control plane itself reports is dim. */
export function showLine(number: number, { timestamp, service, stream, message }: LogLine): void {
  const time = timestamp.slice('2026-01-01T'.length, -1);
  const text = `#${number} ${time} ${(service ?? '').padEnd(SERVICE_WIDTH)} │ ${message}`;
  console.log(stream === 'SYSTEM' ? styleText('dim', text) : stream === 'STDERR' ? styleText('yellow', text) : text);
}
