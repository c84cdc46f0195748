import type { Keyring } from '../../shared/crypto.ts';
import type { GivenConfiguration } from './inputs.ts';

/** How a channel is reached. All of it but the target is secret. */
export type ChannelConfiguration = Exclude<GivenConfiguration, { kind: 'WEBHOOK' }> | WebhookConfiguration;
type WebhookConfiguration = { kind: 'WEBHOOK'; url: string; secret: string };
export type EmailConfiguration = Extract<GivenConfiguration, { kind: 'EMAIL' }>;

const contextOf = (channelId: string): string => `notification_channels:${channelId}`;

/** A channel's configuration as it is stored. */
export function sealConfiguration(keyring: Keyring, channelId: string, configuration: ChannelConfiguration): string {
  return keyring.encrypt(JSON.stringify(configuration), contextOf(channelId));
}

/** The configuration itself, for who sends alone. */
export function openConfiguration(keyring: Keyring, channelId: string, sealed: string): ChannelConfiguration {
  return JSON.parse(keyring.decrypt(sealed, contextOf(channelId)));
}

/** Where a channel leads, as its readers may know it: the rest of an address is often the right to write there. */
export function targetOf(configuration: GivenConfiguration): string {
  return configuration.kind === 'EMAIL' ? configuration.to.join(', ') : new URL(configuration.url).origin;
}
