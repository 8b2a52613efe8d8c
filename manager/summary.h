/* What `rrm` alone says: the mount, the repositories, what needs a look, and what to do next. */
#pragma once
#include <stdio.h>

#include "manager/base/err.h"

/* 0 or negative errno with a sentence. */
int summary_print(FILE *f, struct err *e);
