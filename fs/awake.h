/*
 * A caller that waits for us leaves its processor without work. In a virtual machine that processor is then taken
 * from us, and to give it back costs the host more than most requests cost us. Where Linux could wait a
 * moment first (its cpuidle driver is "haltpoll") and we may ask for that (/dev/cpu_dma_latency: root), we do: while
 * many requests come, and awake_ms (config.json) longer. The kernel takes it back when we are killed and nobody has
 * the descriptor any more.
 */
#pragma once
#include <stdint.h>

#define AWAKE_DEVICE "/dev/cpu_dma_latency"

struct awake;

/* NULL where it cannot be had, or would bring nothing, or ms is 0. */
struct awake *awake_new(uint32_t ms);

/* A request came. Any thread; NULL is fine. */
void awake_note(struct awake *a);

/* NULL is fine; returns NULL. */
struct awake *awake_free(struct awake *a);
