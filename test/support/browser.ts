import { existsSync } from 'node:fs';
import { type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';
import { eventually } from './eventually.ts';

const EXECUTABLE = '/usr/bin/chromium';
const ARGUMENTS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const VIEWPORT = { width: 1400, height: 900 };

/** A page of Debian's Chromium, with all that it asked for and complained about. */
export type BrowserPage = AsyncDisposable & { page: Page; requests: string[]; complaints: string[] };

export async function openBrowser(origin: string): Promise<BrowserPage> {
  if (!existsSync(EXECUTABLE)) throw new Error(`${EXECUTABLE} is missing: apt-get install chromium`);
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
  const context = await browser.newContext({ viewport: VIEWPORT });
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin });
  const page = await context.newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  watch(context, requests);
  page.on('websocket', (socket) => requests.push(socket.url()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  return { page, requests, complaints, [Symbol.asyncDispose]: () => browser.close() };
}

function watch(context: BrowserContext, requests: string[]): void {
  context.on('request', (request) => requests.push(request.url()));
}

/** GraphiQL as a person uses it: editors are pasted into, the result pane is copied from. */
export class GraphiQL {
  readonly #page: Page;

  private constructor(page: Page) {
    this.#page = page;
  }

  /** Opens it with a tab of one's own. */
  static async open(page: Page, url: string): Promise<GraphiQL> {
    await page.goto(url);
    const graphiql = new GraphiQL(page);
    await graphiql.#operations.waitFor();
    await page.getByRole('button', { name: 'New tab' }).click();
    await page.locator('.graphiql-tab-active', { hasText: '<untitled>' }).waitFor();
    return graphiql;
  }

  get #operations(): Locator {
    return this.#page.locator('.graphiql-query-editor .monaco-editor').first();
  }

  get result(): Locator {
    return this.#page.locator('.result-window');
  }

  async setHeaders(headers: object): Promise<void> {
    await this.#page.getByRole('button', { name: 'Headers' }).click();
    const editor = this.#page.locator('.graphiql-editor-tool .graphiql-editor:not(.hidden) .monaco-editor').first();
    await this.#paste(editor, JSON.stringify(headers));
  }

  /** Pastes an operation, runs it, and resolves with its result, or the first of a subscription's. */
  // biome-ignore lint/suspicious/noExplicitAny: results are as their operation asked for them.
  async run(operation: string): Promise<any> {
    await this.start(operation);
    return await eventually('a result', () => this.read());
  }

  /** Runs an operation, and leaves its results to `read`. */
  async start(operation: string): Promise<void> {
    await this.#paste(this.#operations, operation);
    // GraphiQL takes in what was pasted a moment later; the tab's title tells that it did.
    const name = /(?:mutation|query|subscription) (\w+)/.exec(operation)![1]!;
    await this.#page.locator('.graphiql-tab-active', { hasText: name }).waitFor();
    await this.#page.keyboard.press('Control+Enter');
  }

  /** Ends the subscription that runs. */
  async stop(): Promise<void> {
    await this.#page.getByRole('button', { name: 'Stop query' }).click();
  }

  /** The lines of the result pane that are to be seen now. */
  async look(): Promise<string> {
    const lines = await this.result.locator('.view-line').allInnerTexts();
    // Monaco draws spaces that do not break.
    return lines.join('\n').replaceAll('\u00a0', ' ');
  }

  /** What the result pane holds now; null while that is nothing. */
  // biome-ignore lint/suspicious/noExplicitAny: results are as their operation asked for them.
  async read(): Promise<any> {
    await this.result.locator('.monaco-editor').first().click();
    await this.#page.evaluate(() => navigator.clipboard.writeText(''));
    await this.#page.keyboard.press('Control+a');
    await this.#page.keyboard.press('Control+c');
    const text = await this.#page.evaluate(() => navigator.clipboard.readText());
    try {
      return JSON.parse(text);
    } catch {
      // Empty still, or a live result changed between selecting and copying it.
      return null;
    }
  }

  async #paste(editor: Locator, text: string): Promise<void> {
    await this.#page.evaluate((pasted) => navigator.clipboard.writeText(pasted), text);
    await editor.click();
    await this.#page.keyboard.press('Control+a');
    await this.#page.keyboard.press('Control+v');
  }
}
