#include <stdio.h>
#include <uv.h>

#include "engine/x.h"
#include "broker/server.h"
#include "../kv/kv.h"
