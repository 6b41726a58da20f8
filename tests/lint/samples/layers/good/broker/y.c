#include <uv.h>

#include "engine/store.h"
