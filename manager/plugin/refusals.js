/*
 * What a command was refused, in words: the errno of a file system has none. Read from the state directories
 * (refused.jsonl, docs/FORMATS.md), never from the mount, which may hang.
 */
import { open } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { base } from "./base.js"
import { repositories } from "./world.js"

// strerror() of EBUSY, EDEADLK and EROFS
const errors = /Device or resource busy|Resource deadlock avoided|Read-only file system/
// The mount writes its refusals down a moment after it told them.
const tries = 10
const tryMs = 50
const tailBytes = 65536
const atMost = 5

async function tail(path) {
  const file = await open(path).catch(() => null)
  if (!file) return ""
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.alloc(Math.min(size, tailBytes)),
      position: Math.max(0, size - tailBytes),
    })
    return buffer.toString("utf8", 0, bytesRead)
  } finally {
    await file.close()
  }
}

function parsed(line) {
  try {
    return JSON.parse(line)
  } catch {
    return null // the rest of a line, at the beginning of the tail
  }
}

async function sentences(session, since) {
  const texts = await Promise.all((await repositories()).map((r) => tail(`${base}/repos/${r.id}/refused.jsonl`)))
  const lines = texts.flatMap((text) => text.split("\n").map(parsed))
  const mine = lines.filter((l) => l?.actor?.session === session && l.message && Date.parse(l.ts) >= since)
  return [...new Set(mine.map((l) => l.message))].slice(-atMost)
}

// Adds the sentences to what the command printed, when it printed such an error.
export async function explain(session, since, output) {
  if (typeof output?.output !== "string" || !errors.test(output.output)) return
  for (let i = 0; i < tries; i++) {
    const found = await sentences(session, since)
    if (found.length) {
      output.output += found.map((sentence) => `\nrrm: ${sentence}`).join("")
      return
    }
    await sleep(tryMs)
  }
}
