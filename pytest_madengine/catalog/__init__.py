"""The models of a MAD repository: schema, discovery, dynamic models, selectors, static checks."""
