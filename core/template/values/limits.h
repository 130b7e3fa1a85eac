/* What a template and a rendering may take. A template is the operator's, what it renders is a tenant's: both
 * are bounded, and whoever goes beyond learns which bound it was. */
#pragma once

enum {
    TEMPLATE_BYTES_MAX = 1 << 20,
    TEMPLATE_NESTING_MAX = 100,    /* of statements and of brackets */
    TEMPLATE_NODE_DEPTH_MAX = 200, /* of the tree that a template is compiled to */
    TEMPLATE_DEPTH_MAX = 400,      /* of what is being evaluated, macros included: it takes the C stack */
    TEMPLATE_STEPS_MAX = 1000000,  /* of a rendering, and */
    TEMPLATE_STEPS_PER_BYTE = 16,  /* for each byte that its variables take */
    TEMPLATE_MEMORY_BYTES_MAX = 64 << 20, /* of a rendering */
    TEMPLATE_OUTPUT_BYTES_MAX = 16 << 20
};
