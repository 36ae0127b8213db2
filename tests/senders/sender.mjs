// Signs and sends deliveries as Healthie's documents say, with Node's standard library and nothing of this project's.
// Jobs and answers as in sender.py, which says what they hold.

import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';
import { createInterface } from 'node:readline';

const PARTS = '("@method" "@path" "@query" "content-digest" "content-type" "content-length")';
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const mac = (secret, text, encoding) => createHmac('sha256', secret).update(text).digest(encoding);

const lines = (d) => [
  `"@method": ${d.method}`,
  `"@path": ${d.path}`,
  `"@query": ?${d.query}`,
  `"content-digest": ${d.digest}`,
  `"content-type": ${d.type}`,
  `"content-length": ${d.length}`,
];

const PROFILES = {
  guide(d) {
    const digest = d.padding ? d.digest : d.digest.replace(/=+$/, '');
    const text = [d.method.toLowerCase(), d.path, d.query, digest, d.type, d.length].join(' ');
    return [`SHA-256=${digest}`, `sig1=${mac(d.secret, text, 'hex')}`];
  },
  scribe(d) {
    const digest = `sha-256=:${d.digest}:`;
    const query = d.query === '' ? '' : `?${d.query}`;
    return [digest, `sig1=:${mac(d.secret, lines({ ...d, digest, query }).join('\n'), 'hex')}:`];
  },
  rfc9421(d) {
    const digest = `sha-256=:${d.digest}:`;
    const text = [...lines({ ...d, digest }), `"@signature-params": ${PARTS}`].join('\n');
    return [digest, `sig1=:${mac(d.secret, text, 'base64')}:`];
  },
};

function headers(job, method, body, sent) {
  const type = job.content_type ?? 'application/json';
  const out = ['Host', job.host, 'Content-Type', type];
  if (job.profile) {
    const [path, ...rest] = (job.signed_target ?? job.target).split('?');
    const digest = createHash('sha256').update(body).digest('base64');
    const padding = job.padding ?? true;
    const delivery = { method, path, query: rest.join('?'), digest, type, length: String(body.length), secret: job.secret, padding };
    const [contentDigest, signature] = PROFILES[job.profile](delivery);
    out.push('Content-Digest', contentDigest, 'Signature-Input', `sig1=${PARTS}`, 'Signature', signature);
  }
  return [...out, 'Content-Length', String(sent.length)];
}

function send(job, again = true) {
  const method = job.method ?? 'POST';
  const body = Buffer.from(job.body);
  const sent = Buffer.from(job.sent_body ?? job.body);
  const [host, port] = job.to.split(':');
  return new Promise((resolve) => {
    const options = { agent, host, port, method, path: job.target, setHost: false, headers: headers(job, method, body, sent) };
    const request = http.request(options, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        const pairs = answer.rawHeaders.flatMap((name, i, all) => (i % 2 === 0 ? [[name, all[i + 1]]] : []));
        resolve({ status: answer.statusCode, headers: pairs, body: Buffer.concat(parts).toString() });
      });
      answer.on('error', (error) => resolve({ error: String(error) }));
    });
    request.on('error', (error) => {
      // A kept connection may have been closed meanwhile; nobody has answered, so the request goes out once more.
      if (request.reusedSocket && again) resolve(send(job, false));
      else resolve({ error: String(error) });
    });
    request.end(sent);
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await send(JSON.parse(line))));
}
process.exit(0);
