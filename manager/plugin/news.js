/* A toast for the people at this repository's terminals when another repository's agent wrote here. */
import { watch } from "node:fs"
import { open, stat } from "node:fs/promises"
import { repo, say, state } from "./base.js"
import { repositories } from "./world.js"

const burstMs = 700
const toastEveryMs = 5000
const auditPartBytes = 1 << 20
export const instances = new Set()
const news = { file: null, offset: 0, due: null, reading: false, again: false, timer: null, lastToast: 0, writers: new Map() }

// Only from now on; nothing runs while nobody writes.
export async function watchAudit() {
  news.offset = await stat(`${state}/audit.jsonl`).then((st) => st.size, () => 0)
  const begin = () => {
    try {
      news.file = watch(`${state}/audit.jsonl`, { persistent: false }, (kind) => {
        // A burst is read once, not with each record.
        news.due ??= setTimeout(readNews, burstMs / 2).unref()
        if (kind !== "rename") return
        news.file?.close() // the gateway began a new one
        news.file = null
        setTimeout(begin, 200).unref()
      })
      news.file.on("error", (error) => say(`no toasts: ${error.message}`))
    } catch {
      setTimeout(begin, 2000).unref()
    }
  }
  begin()
}

async function readNews() {
  news.due = null
  if (news.reading) {
    news.again = true
    return
  }
  news.reading = true
  do {
    news.again = false
    await readPart()
  } while (news.again)
  news.reading = false
}

async function readPart() {
  let f
  try {
    f = await open(`${state}/audit.jsonl`)
    const { size } = await f.stat()
    if (size < news.offset) news.offset = 0
    if (size - news.offset > auditPartBytes) news.offset = size - auditPartBytes
    const { buffer, bytesRead } = await f.read(Buffer.alloc(size - news.offset), 0, undefined, news.offset)
    const text = buffer.subarray(0, bytesRead)
    const end = text.lastIndexOf(10) + 1
    news.offset += end
    for (const line of text.subarray(0, end).toString("utf8").split("\n")) noteRecord(line)
  } catch {
    // gone or torn: the next event finds it
  } finally {
    await f?.close()
  }
}

function noteRecord(line) {
  let record
  try {
    record = JSON.parse(line)
  } catch {
    return
  }
  if (record.result !== "ok" || record.actor?.home === repo) return
  const from = record.actor?.home ?? ""
  const paths = news.writers.get(from) ?? new Set()
  if (paths.size < 1000) paths.add(record.path2 ?? record.path)
  news.writers.set(from, paths)
  if (news.timer) return
  news.timer = setTimeout(toast, Math.max(burstMs, news.lastToast + toastEveryMs - Date.now()))
  news.timer.unref()
}

async function toast() {
  const writers = [...news.writers]
  news.timer = null
  news.lastToast = Date.now()
  news.writers = new Map()
  const repos = await repositories()
  const message = writers
    .map(([from, paths]) => {
      const names = [...paths]
      const more = names.length > 3 ? ` and ${names.length - 3} more` : ""
      return `${repos.find((r) => r.id === from)?.name ?? "a program of no repository"}: ${names.slice(0, 3).join(", ")}${more}`
    })
    .join("; ")
  for (const { client, directory } of instances)
    client.tui
      .showToast({
        query: { directory },
        body: { title: "Written from another repository", message, variant: "info", duration: 8000 },
      })
      .catch((error) => say(`no toast: ${error.message}`))
}
