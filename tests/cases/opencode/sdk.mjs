// An unmodified SDK program, as the case sdk.sh runs it. What it finds goes to stdout as one JSON object.
// node sdk.mjs [CONFIG]   createOpencode(), with CONFIG as its config when it is given
import { createOpencode } from "@opencode-ai/sdk"

const begun = Date.now()
const config = process.argv[2] ? JSON.parse(process.argv[2]) : undefined
const { client, server } = await createOpencode(config ? { config } : undefined)
const line_ms = Date.now() - begun

const events = await client.event.subscribe()
const seen = []
const created = (async () => {
  for await (const event of events.stream) {
    seen.push(event.type)
    if (event.type === "session.created") return event.properties.info.id
  }
})()
while (!seen.length) await new Promise((r) => setTimeout(r, 20))

const session = await client.session.create({ body: { title: "from the SDK" }, throwOnError: true })
// More than one buffer, on a connection that was used before.
const title = "x".repeat(300000)
await client.session.update({ path: { id: session.data.id }, body: { title }, throwOnError: true })
const list = await client.session.list({ throwOnError: true })
const ours = list.data.find((s) => s.id === session.data.id)
const path = await client.path.get({ throwOnError: true })
const settings = await client.config.get({ throwOnError: true })

console.log(
  JSON.stringify({
    url: server.url,
    line_ms,
    ready_ms: Date.now() - begun,
    listed: ours?.title === title,
    event: (await created) === session.data.id,
    directory: path.data.directory,
    username: settings.data.username,
  }),
)
server.close()
process.exit(0)
