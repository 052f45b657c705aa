    for (i64 t = first; t < end; t++) squared += works[t].scalar[NORM];
