#include "core/kernels/backward.h"

#include <math.h>

#include "core/kernels/vector.h"

double backward_cross_entropy(float *logits, int vocab, int target, float weight, bool *correct)
{
    int top = vector_argmax(logits, vocab);
    float largest = logits[top];
    double sum = 0, found = (double)logits[target];
    for (int i = 0; i < vocab; i++) {
        float p = expf(logits[i] - largest);
        sum += (double)p;
        if (weight != 0)
            logits[i] = p;
    }
    *correct = top == target;
    if (weight != 0) {
        float factor = (float)((double)weight / sum);
        for (int i = 0; i < vocab; i++)
            logits[i] *= factor;
        logits[target] -= weight;
    }
    return log(sum) + (double)largest - found;
}
