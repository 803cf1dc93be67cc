"""Charts as Vega-Lite documents over data that is aggregated before: small, diffable, drawn without a browser.

Why Vega-Lite: a chart is JSON, so it can be stored, compared in a test, opened in a notebook and rendered anywhere.

    curves         ROC, precision-recall, calibration, lift
    regression     residuals, predicted against actual, residual histogram, Q-Q
    matrices       confusion, correlations
    shapley        bars, beeswarm, waterfall, dependence
    dependence     partial dependence with individual lines
    drifting       two distributions, a metric over time
    fairness       bias metrics with intervals
    learning       metrics by step, latency against load
    graphs         lineage
    look           palette, sizes, what every chart shares
    render         SVG (light and dark), PNG, PDF
"""
