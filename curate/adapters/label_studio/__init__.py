"""Label Studio, both ways: projects, tasks out, submissions in. Its words (annotation, choice, lead time) stop here."""
