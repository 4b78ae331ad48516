package codegen

import (
