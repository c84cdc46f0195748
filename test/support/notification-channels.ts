import type { Deployer } from './deployer.ts';
import type { HttpSink } from './http-sink.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

const CHANNEL = 'id name kind isEnabled eventTypes target organization { id } createdBy { ... on User { id } }';
const CREATED = `NotificationChannelCreated { secret channel { ${CHANNEL} } }`;
const DELIVERY = 'id status eventType eventId message attempts error sentAt lastAttemptAt channel { id }';
const READ = `query ($id: ID!) { notificationChannel(id: $id) { ${CHANNEL} } node(id: $id) { id __typename } }`;
const DELIVERIES = `query ($id: ID!, $status: [NotificationDeliveryStatus!]) { notificationChannel(id: $id) {
  deliveries(first: 100, status: $status) { totalCount nodes { ${DELIVERY} } } } }`;

/** A webhook's, where a test gives it one. */
export const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;

/** An admin who makes channels, webhooks of a sink unless they are said to be others, through the public API alone. */
export class NotificationChannels {
  readonly by: Deployer;
  readonly #sink: HttpSink;
  #made = 0;

  constructor(by: Deployer, sink: HttpSink) {
    this.by = by;
    this.#sink = sink;
  }

  /** The answer as it is: a channel with its secret or an error. */
  tryCreate(input: object = {}): Promise<Data> {
    return this.by.try('notificationChannelCreate', CREATED, {
      organizationId: this.by.organizationId,
      name: `channel ${++this.#made}`,
      configuration: { webhook: { url: this.#sink.url('/hook') } },
      ...input,
    });
  }

  async create(input: object = {}): Promise<Data> {
    const created = await this.tryCreate(input);
    if (created.__typename !== 'NotificationChannelCreated') throw new Error(JSON.stringify(created));
    return created;
  }

  /** A webhook to a path of the sink; its id. */
  async newWebhook(path: string, input: object = {}): Promise<string> {
    const configuration = { webhook: { url: this.#sink.url(path), secret: SECRET } };
    return (await this.create({ configuration, ...input })).channel.id;
  }

  update(notificationChannelId: string, input: object): Promise<Data> {
    return this.by.try('notificationChannelUpdate', `NotificationChannel { ${CHANNEL} }`, {
      notificationChannelId,
      ...input,
    });
  }

  test(notificationChannelId: string): Promise<Data> {
    return this.by.try('notificationChannelTest', `NotificationDelivery { ${DELIVERY} }`, { notificationChannelId });
  }

  remove(notificationChannelId: string): Promise<Data> {
    return this.by.try('notificationChannelDelete', 'Deleted { id }', { notificationChannelId });
  }

  retry(notificationDeliveryId: string): Promise<Data> {
    return this.by.try('notificationDeliveryRetry', `NotificationDelivery { ${DELIVERY} }`, { notificationDeliveryId });
  }

  async read(id: string, by = this.by): Promise<Data> {
    return (await by.ask(READ, { id })).notificationChannel;
  }

  async deliveries(id: string, status?: string[]): Promise<Data[]> {
    return (await this.by.ask(DELIVERIES, { id, status })).notificationChannel.deliveries.nodes;
  }
}
