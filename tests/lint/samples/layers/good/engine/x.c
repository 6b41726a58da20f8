#include "engine/x.h"

#include <stdio.h>
#include <zstd.h>

#include "engine/base/base.h"
