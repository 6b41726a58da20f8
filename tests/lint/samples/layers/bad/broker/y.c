#include "engine/segment.h"
