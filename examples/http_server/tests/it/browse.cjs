// Drives headless Chromium: browse.cjs URL FOLDER. It loads the page at URL/page/, follows links of the
// listing, and saves screenshots in FOLDER. It fails if the browser reports an error.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { chromium } = require('playwright-core');

const [url, folder] = process.argv.slice(2);

function which(program) {
  return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
}

async function page(tab) {
  await tab.goto(`${url}/page/`);
  await tab.waitForFunction(() => document.title === 'the script has run');
  const picture = tab.locator('img');
  assert.deepEqual(await picture.evaluate((img) => [img.complete, img.naturalWidth]), [true, 120]);
  assert.equal(await tab.locator('h1').evaluate((h1) => getComputedStyle(h1).color), 'rgb(1, 2, 3)');
  await tab.screenshot({ path: `${folder}/page.png` });
}

async function listing(tab) {
  await tab.goto(`${url}/`);
  const row = tab.locator('tr', { hasText: 'größe & <co>.txt' });
  assert.match(await row.innerText(), /größe & <co>.txt\s+12.35 kB\s+\d\d \w{3} \d{4} \d\d:\d\d/);
  await tab.screenshot({ path: `${folder}/listing.png` });
  await tab.getByRole('link', { name: 'a folder/' }).click();
  assert.equal(await tab.title(), 'Index of /a folder/');
  await tab.getByRole('link', { name: 'in side/' }).click();
  assert.equal(await tab.title(), 'Index of /a folder/in side/');
  await tab.screenshot({ path: `${folder}/folder.png` });
  await tab.getByRole('link', { name: 'deep.txt' }).click();
  assert.equal(await tab.locator('body').innerText(), 'Tief unten: ü');
  await tab.goBack();
  await tab.getByRole('link', { name: 'a folder', exact: true }).click();
  await tab.getByRole('link', { name: 'empty/' }).click();
  assert.equal(await tab.locator('main').innerText(), 'This folder is empty.');
  await tab.getByRole('link', { name: 'Home' }).click();
  assert.equal(tab.url(), `${url}/`);
}

async function looks(tab) {
  await tab.emulateMedia({ colorScheme: 'dark' });
  await tab.screenshot({ path: `${folder}/dark.png` });
  await tab.setViewportSize({ width: 360, height: 640 });
  await tab.screenshot({ path: `${folder}/narrow.png` });
  const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  assert.equal(await tab.evaluate(overflow), 0);
}

async function visit(browser) {
  const tab = await browser.newPage({ viewport: { width: 1000, height: 640 } });
  tab.setDefaultTimeout(10_000);
  const errors = [];
  tab.on('console', (message) => {
    // A plain file names no icon, so the browser requests /favicon.ico.
    const is_icon = message.location().url.endsWith('/favicon.ico');
    if (message.type() === 'error' && !is_icon) errors.push(message.text());
  });
  tab.on('pageerror', (error) => errors.push(error.message));
  tab.on('requestfailed', (request) => errors.push(request.url()));
  await page(tab);
  await listing(tab);
  await looks(tab);
  assert.deepEqual(errors, []);
  await tab.goto(`${url}/nothing`);
  await tab.screenshot({ path: `${folder}/error.png` });
}

async function main() {
  const browser = await chromium.launch({
    executablePath: which('chromium'),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  try {
    await visit(browser);
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
