// A webhook handler as a developer writes it, right or with one fault, for `healthie-tunnel check` to find.
//
// Arguments: the profile (guide, scribe, rfc9421) and the fault's name, or `right`. The secret is in HEALTHIE_WEBHOOK_SECRET.
// Prints {"port": N}.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import http from 'node:http';

const secret = process.env.HEALTHIE_WEBHOOK_SECRET;
const [profile, fault] = process.argv.slice(2);
const seen = new Set();

class Refused extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

const mac = (text, encoding) => createHmac('sha256', secret).update(text).digest(encoding);

function same(expected, given) {
  if (fault === 'partial-signature') return expected.startsWith(given);
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** What the signature should be. */
function expectedSignature({ method, url, headers }, raw, digest) {
  let [path, ...rest] = url.split('?');
  const query = rest.join('?');
  // Express's req.url behind app.use('/api', …).
  if (fault === 'mounted-path') path = path.replace(/^\/api/, '');
  let length = raw.length;
  if (fault === 'counts-characters') length = raw.toString().length;
  if (fault === 're-serialises') length = JSON.stringify(JSON.parse(raw)).length;
  const type = headers['content-type'];
  if (profile === 'guide') {
    const value = fault === 'strips-padding' ? digest.split('=')[1] : digest.slice(digest.indexOf('=') + 1);
    return mac([method.toLowerCase(), path, query, value, type, length].join(' '), 'hex');
  }
  const lines = [
    `"@method": ${method}`,
    `"@path": ${path}`,
    `"@query": ?${profile === 'scribe' && query ? '?' : ''}${query}`,
    `"content-digest": ${digest}`,
    `"content-type": ${type}`,
    `"content-length": ${length}`,
  ];
  if (profile === 'scribe') return mac(lines.join('\n'), 'hex');
  const input = headers['signature-input'];
  return mac([...lines, `"@signature-params": ${input.slice(input.indexOf('=') + 1)}`].join('\n'), 'base64');
}

/** Throws where a request is not what its signature says. */
function verify(request, raw) {
  if (fault === 'no-verification') return;
  const { 'content-digest': digest, 'signature-input': input, signature } = request.headers;
  if (fault === 'accepts-unsigned' && (!digest || !input || !signature)) return;
  if (fault !== 'crash' && (!digest || !input || !signature)) throw new Refused(401, 'signature headers missing');
  const sha256 = createHash('sha256').update(raw).digest('base64');
  const claimed = digest.slice(digest.indexOf('=') + 1).replace(/^:|:$/g, '');
  if (fault === 'digest-unchecked') {
    const form = digest.startsWith('SHA') ? `SHA-256=${sha256}` : `sha-256=:${sha256}:`;
    if (!same(expectedSignature(request, raw, form), signature.slice(5).replace(/^:|:$/g, ''))) throw new Refused(401, 'mismatch');
    return;
  }
  if (fault !== 'body-unchecked' && claimed !== sha256) throw new Refused(401, 'digest mismatch');
  if (fault === 'digest-only') return;
  const given = signature.slice(signature.indexOf('=') + 1).replace(/^:|:$/g, '');
  if (!same(expectedSignature(request, raw, digest), given)) throw new Refused(401, 'signature mismatch');
}

function handle(raw) {
  const event = JSON.parse(raw);
  if (fault === 'integer-ids') event.resource_id.padStart(10, '0');
  if (fault === 'empty-changed-fields' && event.event_type.endsWith('.updated')) event.changed_fields?.[0]?.length || fail();
  if (fault === 'unknown-events-500') ({ appointment: () => {}, task: () => {} })[event.event_type.split('.')[0]]();
  if (fault === 'refuses-repeats' && seen.has(raw.toString())) throw new Refused(400, 'seen before');
  seen.add(raw.toString());
}

function fail() {
  throw new Error('nothing has changed');
}

function respond(response, status, why) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ why }));
}

const server = http.createServer((request, response) => {
  const parts = [];
  const done = () => {
    const raw = Buffer.concat(parts);
    try {
      if (request.method !== 'POST') throw new Refused(405, 'POST only');
      verify(request, raw);
      // A worker that never calls back.
      if (fault === 'large-bodies' && raw.length > 100_000) return;
      handle(raw);
      respond(response, 200, 'ok');
    } catch (error) {
      // An exception that nobody catches ends a Node process.
      if (!(error instanceof Refused) && (fault === 'crash' || fault === 'integer-ids')) throw error;
      respond(response, error.status ?? 500, String(error));
    }
  };
  if (fault === 'partial-bodies') {
    request.once('data', (part) => { parts.push(part); done(); });
    if (request.headers['content-length'] === '0' || !request.headers['content-length']) done();
    return;
  }
  request.on('data', (part) => parts.push(part));
  request.on('end', done);
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
